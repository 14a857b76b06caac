/**
 * The comparison: prepares directories, runs each workload in rounds of hypha, peer, hypha, peer … so that what else the
 * machine does falls on all alike, and makes a row of each.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'hyphadb'
import { KEY_BYTES, VALUE_BYTES } from './data.js'
import { type ImportFile, importFile, runImport } from './import-run.js'
import type { Outcome, Task } from './jobs/job.js'
import { MemoryLimit } from './memory-limit.js'
import { type Row, rowOf } from './rows.js'
import { endAll, runTogether } from './runner.js'
import { storeKind } from './stores/index.js'
import type { Durability } from './stores/store.js'
import { type DataSet, type Scale, VALUE_BYTES_LARGE, type Workload } from './workloads.js'

const TMPFS = 0x01021994
const CACHE_BYTES = 512 << 20
const CACHE_BYTES_MIN = 8 << 20
/** What a Node process needs for itself under a limit on all of its memory. */
const PROCESS_BYTES = 128 << 20

export interface BenchOptions {
  readonly scale: Scale
  readonly workloads: readonly Workload[]
  /** Names of the peers that take part. */
  readonly peers: readonly string[]
  /** Where the databases are made; removed at the end. */
  readonly directory?: string | undefined
  readonly execArgv?: readonly string[]
  readonly progress: (text: string) => void
}

export class Bench {
  /** Where the databases stood: on tmpfs no figure about durability means anything. */
  readonly place: string
  private readonly root: string
  private readonly prepared = new Map<string, string>()
  private directories = 0
  private seed = 1
  private file: ImportFile | undefined

  constructor(private readonly options: BenchOptions) {
    const parent = options.directory ?? tmpdir()
    mkdirSync(parent, { recursive: true })
    this.root = mkdtempSync(join(parent, 'hypha-bench-'))
    this.place = statfsSync(this.root).type === TMPFS ? 'tmpfs: nothing here is durable' : 'disk'
  }

  get importedFile(): string {
    return this.file === undefined ? 'none' : this.file.real ? 'price-paid-real.csv' : 'made up by hypha sample'
  }

  async run(onRow: (row: Row) => void): Promise<Row[]> {
    const rows: Row[] = []
    for (const workload of this.options.workloads) {
      const row = await this.workload(workload)
      rows.push(row)
      onRow(row)
    }
    return rows
  }

  /** Removes everything. A process of ours that was killed left its shared memory behind: opened once more, it goes. */
  async remove(): Promise<void> {
    await endAll()
    for (const name of readdirSync(this.root)) {
      const directory = join(this.root, name)
      if (!existsSync(join(directory, 'region'))) continue
      const database = await open(directory, { memory: CACHE_BYTES_MIN }).catch(() => undefined)
      await database?.close()
    }
    rmSync(this.root, { recursive: true, force: true })
  }

  private async workload(workload: Workload): Promise<Row> {
    const { scale, progress } = this.options
    const values = new Map<string, number[]>()
    const cpu = new Map<string, number[]>()
    const extras = new Map<string, Outcome['extra']>()
    const failures = new Map<string, string>()
    const limit =
      workload.largerThanCache === true ? MemoryLimit.create(this.cacheBytes(workload) + PROCESS_BYTES) : undefined
    try {
      for (let round = 0; round < scale.rounds; round++) {
        for (const store of this.order(workload)) {
          if (failures.has(store)) continue
          progress(`${workload.name}: ${store}, round ${round + 1} of ${scale.rounds}`)
          try {
            const outcome = await this.measure(workload, store, limit)
            values.set(store, [...(values.get(store) ?? []), outcome.value])
            if (outcome.cpuMicros !== undefined) cpu.set(store, [...(cpu.get(store) ?? []), outcome.cpuMicros])
            if (outcome.extra !== undefined) extras.set(store, outcome.extra)
          } catch (error) {
            failures.set(store, error instanceof Error ? error.message : String(error))
          }
        }
      }
    } finally {
      limit?.remove()
    }
    return rowOf(workload, this.settings(workload, limit !== undefined), { values, cpu, extras, failures })
  }

  /** Ours stands between the peers, so that both sides see the same moments. */
  private order(workload: Workload): string[] {
    const peers = this.peersOf(workload)
    if (peers.length === 0) return ['hypha', 'hypha']
    return peers.flatMap(peer => ['hypha', peer])
  }

  private peersOf({ oursAlone, manyProcesses, without }: Workload): string[] {
    if (oursAlone === true) return []
    return this.options.peers.filter(
      peer => (manyProcesses !== true || storeKind(peer).manyProcesses) && without?.[peer] === undefined,
    )
  }

  private cacheBytes({ largerThanCache }: Workload): number {
    if (largerThanCache !== true) return CACHE_BYTES
    const data = this.options.scale.largeRows * (KEY_BYTES + VALUE_BYTES_LARGE)
    return Math.max(CACHE_BYTES_MIN, Math.round(data / 4))
  }

  private settings(workload: Workload, limited: boolean): Record<string, string> {
    const settings: Record<string, string> = {}
    if (typeof workload.job !== 'string') return { hypha: `${this.importedFile}, --batch ${workload.job.importBatch}` }
    for (const store of new Set(this.order(workload))) {
      const text = storeKind(store).settings(this.task(workload, store, '', workload.job))
      const total = Math.round((this.cacheBytes(workload) + PROCESS_BYTES) / 2 ** 20)
      settings[store] =
        workload.largerThanCache !== true
          ? text
          : limited
            ? `${text}; process and page cache limited to ${total} MB by a cgroup`
            : `${text}; page cache not limited`
    }
    return settings
  }

  private task(workload: Workload, store: string, directory: string, job: string): Task {
    const { scale } = this.options
    const large = workload.data === 'large'
    return {
      job,
      store,
      directory,
      durability: workload.durability,
      cacheBytes: this.cacheBytes(workload),
      ...(workload.largerThanCache === true ? { largerThanCache: true } : {}),
      rows: this.rowsOf(large ? 'large' : workload.documents === true ? 'documents' : workload.data),
      valueBytes: large ? VALUE_BYTES_LARGE : VALUE_BYTES,
      seconds: scale.seconds,
      warmSeconds: scale.warmSeconds,
      seed: this.seed++,
    }
  }

  private rowsOf(data: DataSet): number {
    const { scale } = this.options
    if (data === 'large') return scale.largeRows
    return data === 'documents' ? scale.documents : scale.rows
  }

  private async measure(workload: Workload, store: string, limit: MemoryLimit | undefined): Promise<Outcome> {
    const { timeoutMs } = this.options.scale
    if (typeof workload.job !== 'string') return this.import(workload.job.importBatch)
    const { job } = workload
    const directory =
      workload.data === 'none' ? this.newDirectory() : await this.prepare(workload.data, store, workload.durability)
    if (workload.cold === true || workload.largerThanCache === true) forget(directory)
    const tasks = Array.from({ length: workload.processes ?? 1 }, () => this.task(workload, store, directory, job))
    const beside = workload.beside === undefined ? [] : [this.task(workload, store, directory, workload.beside)]
    const outcomes = await runTogether(tasks, {
      timeoutMs,
      beside,
      ...(limit === undefined ? {} : { limit }),
      ...(this.options.execArgv === undefined || store !== 'hypha' ? {} : { execArgv: this.options.execArgv }),
    })
    if (workload.data === 'none') rmSync(directory, { recursive: true, force: true })
    const value = outcomes.reduce((sum, outcome) => sum + outcome.value, 0)
    return { ...outcomes[0]!, value }
  }

  private async import(batch: number): Promise<Outcome> {
    const { importRecords, timeoutMs } = this.options.scale
    this.file ??= await importFile(this.root, importRecords, timeoutMs)
    const directory = this.newDirectory()
    const value = runImport(this.file, directory, batch, timeoutMs)
    rmSync(directory, { recursive: true, force: true })
    return { value }
  }

  private newDirectory(): string {
    return join(this.root, String(++this.directories))
  }

  /** The directory with this data, made when it is first asked for. Writing workloads change its values, not its keys. */
  private async prepare(data: DataSet, store: string, durability: Durability): Promise<string> {
    // lmdb's page size is chosen when the file is made, and it takes another one where data are larger than memory.
    const key = `${data}-${store}`
    const known = this.prepared.get(key)
    if (known !== undefined) return known
    const directory = join(this.root, key)
    this.options.progress(`preparing ${data} for ${store}`)
    const large = data === 'large'
    await runTogether(
      [
        {
          job: data === 'documents' ? 'bulkDocuments' : large ? 'bulkSequential' : 'bulkRandom',
          store,
          directory,
          durability: durability === 'durable' ? 'relaxed' : durability,
          cacheBytes: CACHE_BYTES,
          ...(large ? { largerThanCache: true } : {}),
          rows: this.rowsOf(data),
          valueBytes: large ? VALUE_BYTES_LARGE : VALUE_BYTES,
          seconds: 0,
          warmSeconds: 0,
          seed: 0,
        },
      ],
      { timeoutMs: this.options.scale.timeoutMs },
    )
    this.prepared.set(key, directory)
    return directory
  }
}

/** Makes the system's page cache forget the files of a directory. */
function forget(directory: string): void {
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, name)
    if (!statSync(path).isFile()) continue
    spawnSync('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none', 'if=/dev/null'])
    spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none', 'of=/dev/null'])
  }
}
