/**
 * The demonstration: the main job on this machine. One process imports, two query, one writes and is killed in the middle
 * of it, another takes its place; then everything is compared with plain counts.
 */
import { createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from '../database.js'
import { withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import { grouped, type ProgressState } from '../progress.js'
import { samplePricePaid } from '../sample/price-paid.js'
import { splitReport } from '../verify-report.js'
import { DemoChild } from './child-process.js'
import { ACCOUNTS, createLedger, JOURNAL, ledgerFaults } from './ledger.js'
import type { ChildMessage, ReaderReport } from './messages.js'
import {
  differences,
  type Figures,
  figuresOfCollection,
  figuresOfFile,
  SALES,
  SALES_INDEXES,
  SALES_KEY,
} from './sales.js'

/** The writer dies when this share of the file has been read, and after so many transfers. */
const KILL_AT = 0.4
const KILL_AFTER_TRANSFERS = 20

export interface DemoCheck {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

export interface DemoResult {
  readonly import: { readonly records: number; readonly seconds: number; readonly recordsPerSecond: number }
  readonly fileBytes: number
  readonly readers: readonly ReaderReport[]
  readonly writer: {
    readonly acknowledged: number
    readonly killedAfterRecords: number
    readonly acknowledgedAfterKill: number
  }
  readonly checks: readonly DemoCheck[]
  /** Bytes that went to the log for each byte of the imported file; undefined if the figures do not say. */
  readonly logBytesPerFileByte: number | undefined
  readonly stats: unknown
}

export interface DemoEvents {
  step(text: string): void
  progress(state: ProgressState): void
}

export class DemoRun {
  private readonly children: DemoChild[] = []
  private readonly database: string
  private readonly file: string
  private readonly acknowledged: number[] = []
  private killedAfterRecords = 0

  constructor(
    directory: string,
    private readonly rows: number,
    private readonly seed: number,
    private readonly events: DemoEvents,
    private readonly signal: AbortSignal,
  ) {
    this.database = join(directory, 'database')
    this.file = join(directory, 'sales.csv')
    signal.addEventListener('abort', () => void this.stop())
  }

  async run(): Promise<DemoResult> {
    this.events.step('making up records')
    await this.makeFile()
    const expected = await figuresOfFile(this.file)
    const logBefore = await withDatabase(this.database, {}, async database => {
      createLedger(database)
      database.collection(SALES, { key: SALES_KEY, indexes: SALES_INDEXES })
      await database.flushed()
      return logPosition(database.stats())
    })
    const { imported, readers, acknowledgedBefore } = await this.allAtOnce()
    this.signal.throwIfAborted()
    this.events.step('comparing with a plain count of the file, and verifying')
    const fileBytes = (await stat(this.file)).size
    return await withDatabase(this.database, { create: false }, async database => {
      const stats = database.stats()
      const logAfter = logPosition(stats)
      return {
        import: { ...imported, recordsPerSecond: Math.round(imported.records / imported.seconds) },
        fileBytes,
        readers,
        writer: {
          acknowledged: this.acknowledged.length,
          killedAfterRecords: this.killedAfterRecords,
          acknowledgedAfterKill: this.acknowledged.length - acknowledgedBefore,
        },
        checks: [...this.checks(database, expected, readers), await verifyCheck(database)],
        logBytesPerFileByte:
          logBefore === undefined || logAfter === undefined ? undefined : (logAfter - logBefore) / fileBytes,
        stats,
      }
    })
  }

  /** Ends whatever is still running. */
  async stop(): Promise<void> {
    await Promise.all(this.children.map(child => child.kill()))
  }

  private async makeFile(): Promise<void> {
    const stream = createWriteStream(this.file)
    const output = new Output(stream)
    for (const piece of samplePricePaid(this.rows, this.seed)) {
      await output.write(piece)
      this.signal.throwIfAborted()
    }
    await output.flush()
    await new Promise<void>(resolve => stream.end(resolve))
  }

  private start(...args: ConstructorParameters<typeof DemoChild>): DemoChild {
    this.signal.throwIfAborted()
    const child = new DemoChild(...args)
    this.children.push(child)
    return child
  }

  private startWriter(name: string, onAcknowledged: () => void = () => undefined): DemoChild {
    return this.start(name, 'writer', [this.database], message => {
      if (message.kind !== 'acknowledged') return
      this.acknowledged.push(message.transfer)
      onAcknowledged()
    })
  }

  private async allAtOnce(): Promise<{
    imported: { records: number; seconds: number }
    readers: ReaderReport[]
    acknowledgedBefore: number
  }> {
    const readers = [1, 2].map(number => this.start(`reader ${number}`, 'reader', [this.database]))
    const warm = signalled()
    const writer = this.startWriter('writer', () => {
      if (this.acknowledged.length === KILL_AFTER_TRANSFERS) warm.give()
    })
    await Promise.all([...readers, writer].map(child => child.next('ready')))
    this.events.step('importing, while two processes query and one writes')
    const killTime = signalled()
    const importer = this.start('importer', 'importer', [this.database, this.file], message =>
      this.onImport(message, killTime.give),
    )
    const imported = importer.next('imported')
    // A failure of one of them must not be waited for with the kill.
    await Promise.race([killTime.given, imported])
    await Promise.race([warm.given, writer.end()])
    await writer.kill()
    const acknowledgedBefore = this.acknowledged.length
    for (const reader of readers) reader.tell({ kind: 'killed' })
    this.events.step(`killed the writer after ${acknowledgedBefore} transfers (SIGKILL); another one takes its place`)
    const successor = this.startWriter('second writer')
    const { records, seconds } = await imported
    await successor.next('ready')
    successor.tell({ kind: 'stop' })
    for (const reader of readers) reader.tell({ kind: 'stop' })
    const reports = await Promise.all(readers.map(reader => reader.next('reader')))
    await Promise.all([importer, successor, ...readers].map(child => child.end()))
    return { imported: { records, seconds }, readers: reports, acknowledgedBefore }
  }

  private onImport(message: ChildMessage, reachKill: () => void): void {
    if (message.kind !== 'progress') return
    this.events.progress({ ...message, rejected: 0 })
    if (message.bytes < message.totalBytes * KILL_AT) this.killedAfterRecords = message.records
    else reachKill()
  }

  private checks(database: Database, expected: Figures, readers: readonly ReaderReport[]): DemoCheck[] {
    const sales = database.collection(SALES)
    const found = figuresOfCollection(sales)
    const towns = [...expected.byTown.keys()]
    const byIndex = new Map(towns.map(town => [town, sales.count({ town })]))
    const ledger = ledgerFaults(database.collection(ACCOUNTS), database.collection(JOURNAL), this.acknowledged)
    const seen = readers.flatMap(reader => reader.inconsistencies)
    return [
      same('records', expected.records, found.records),
      same('sum of prices', expected.sumOfPrices, found.sumOfPrices),
      check('records by town', differences(expected.byTown, found.byTown), `${towns.length} towns`),
      check('records by town, from the index', differences(expected.byTown, byIndex), `${towns.length} towns`),
      check('records by year', differences(expected.byYear, found.byYear), `${expected.byYear.size} years`),
      check('acknowledged transfers, and the balances they make', ledger, `${this.acknowledged.length} transfers`),
      check('what the readers saw', seen, `${readers.reduce((sum, reader) => sum + reader.queries, 0)} queries`),
    ]
  }
}

/** Bytes ever appended to the log. */
function logPosition(stats: unknown): number | undefined {
  const log = typeof stats === 'object' && stats !== null && 'log' in stats ? stats.log : undefined
  const tail = typeof log === 'object' && log !== null && 'tail' in log ? log.tail : undefined
  return typeof tail === 'number' ? tail : undefined
}

/** A promise, and what resolves it. */
function signalled(): { given: Promise<void>; give: () => void } {
  let give: () => void = () => undefined
  const given = new Promise<void>(resolve => {
    give = resolve
  })
  return { given, give }
}

async function verifyCheck(database: Database): Promise<DemoCheck> {
  const { faults } = splitReport(await database.verify())
  return check(
    'verify',
    faults.map(fault => JSON.stringify(fault)),
    'no faults',
  )
}

function same(name: string, expected: number, found: number): DemoCheck {
  const detail = found === expected ? grouped(found) : `${found}, expected ${expected}`
  return { name, ok: found === expected, detail }
}

function check(name: string, problems: readonly string[], fine: string): DemoCheck {
  if (problems.length === 0) return { name, ok: true, detail: fine }
  const more = problems.length > 3 ? `; and ${problems.length - 3} more` : ''
  return { name, ok: false, detail: problems.slice(0, 3).join('; ') + more }
}
