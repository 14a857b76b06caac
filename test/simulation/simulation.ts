/**
 * Power failures, one at every operation of a workload: the workload runs once on a simulated disk, and at each write, sync
 * and change of a name a copy of the disk is set aside as the power failure might have left it. Each copy is opened then:
 * the state recovered must be that after some prefix of the commits, with every acknowledged one; nothing may be found
 * wrong; and the database must go on working, through further failures in recovery and after it.
 *
 * Everything random comes from one seed, the salts of the log excepted.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isHyphaError } from 'hyphadb/internal/base/errors.js'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { differences, History, ModelState } from './model.js'
import { SimulatedDisk } from './simulated-disk.js'
import { Workload } from './workload.js'

export interface SimulationOptions {
  readonly seed: number
  /** Steps of the first workload. */
  readonly steps?: number
  /** 1: a failure at every operation; n: at every n-th, beginning at a place that the seed says. */
  readonly stride?: number
  /** Failures that may follow each other. */
  readonly depth?: number
  /** With steps that make the data file large enough to be worth shrinking. By default one seed in four. */
  readonly bulky?: boolean
}

export interface SimulationResult {
  operations: number
  /** Failures that were recovered from. */
  failures: number
  /** By depth: 0 in the first workload, 1 in or after the recovery from that, and so on. */
  byDepth: number[]
}

/** A power failure that has happened and is still to be recovered from. */
interface Failure {
  readonly disk: SimulatedDisk
  readonly depth: number
  readonly seed: number
  readonly description: string
  readonly history: History
  /** All commits up to here must be there. */
  readonly acknowledged: number
  /** And what came later than this was not even begun. */
  readonly latest: number
  /** The log must reach here: it was called durable. */
  readonly durable: number
}

export class SimulationFailure extends Error {}

/** Power failures within a recovery or a life after it are samples: one in this many operations at least. */
const SAMPLE_MIN = 4
const SAMPLE_MAX = 12
/** One seed in this many has steps with many more operations, of which fewer are looked at. */
const BULKY_SEEDS = 4
const BULK_STRIDE = 24

/** A close need not make a checkpoint for less. */
const REPLAY_AFTER_CLOSE_MAX = 8192

class Simulation {
  readonly result: SimulationResult = { operations: 0, failures: 0, byDepth: [] }
  readonly #random: SeededRandom
  readonly #options: Required<SimulationOptions>
  readonly #scratch: string
  readonly #queue: Failure[] = []
  readonly #geometry: InternalOptions
  #lives = 0

  constructor(options: SimulationOptions) {
    this.#options = { steps: 60, stride: 1, depth: 2, bulky: options.seed % BULKY_SEEDS === 0, ...options }
    this.#random = new SeededRandom(options.seed)
    this.#scratch = mkdtempSync(join(tmpdir(), 'hyphadb-simulation-'))
    const among = (values: number[]): number => this.#random.pick(values)
    this.#geometry = {
      pageSize: 4096,
      frames: among([32, 48, 96]),
      segmentBytes: among([8192, 16_384, 65_536]),
      logRingBytes: among([16_384, 32_768]),
      versionRingBytes: among([32_768, 65_536]),
      checkpointBytes: among([20_000, 100_000, 1_000_000]),
      housekeeping: 'none',
    }
  }

  async run(): Promise<SimulationResult> {
    try {
      const { steps, stride } = this.#options
      const disk = new SimulatedDisk('/')
      await new Life(this, disk, 0, undefined, this.#random.fork()).run(steps, stride)
      await this.recoverAll()
      return this.result
    } finally {
      rmSync(this.#scratch, { recursive: true, force: true })
    }
  }

  get bulky(): boolean {
    return this.#options.bulky
  }

  get depth(): number {
    return this.#options.depth
  }

  /** Opens the disk as another boot of the machine does: with nothing in shared memory. */
  open(disk: SimulatedDisk): Promise<HyphaEngine> {
    disk.mount = join(this.#scratch, String(this.#lives++))
    const memory = join(disk.mount, 'memory')
    // What has no simulation: the lock file and the region.
    mkdirSync(join(disk.mount, 'parent/db'), { recursive: true })
    mkdirSync(memory)
    return openEngine(join(disk.mount, 'parent/db'), { ...this.#geometry, files: disk, sharedMemoryDirectory: memory })
  }

  tidy(disk: SimulatedDisk): void {
    rmSync(disk.mount, { recursive: true, force: true })
  }

  add(failure: Failure): void {
    this.#queue.push(failure)
  }

  /** Recovers from all failures that were set aside, and from those that this brings about. */
  async recoverAll(): Promise<void> {
    for (let failure = this.#queue.pop(); failure !== undefined; failure = this.#queue.pop()) {
      this.result.failures++
      this.result.byDepth[failure.depth - 1] = (this.result.byDepth[failure.depth - 1] ?? 0) + 1
      await this.#recover(failure)
    }
  }

  async #recover(failure: Failure): Promise<void> {
    const random = new SeededRandom(failure.seed + 1)
    const again = failure.depth < this.depth && random.chance(0.25)
    const depth = again ? failure.depth : this.depth
    const steps = random.chance(0.3) ? random.between(3, 12) : 0
    try {
      await new Life(this, failure.disk, depth, failure, random).run(steps, random.between(SAMPLE_MIN, SAMPLE_MAX))
    } catch (error) {
      const what = isHyphaError(error) ? `${error.code}: ${error.message}` : String(error)
      throw new SimulationFailure(`${what} [${failure.description}; disk seed ${failure.seed}]`, { cause: error })
    }
  }
}

/** One opening of a disk, and what follows until it is closed. */
class Life {
  #workload: Workload | undefined
  #history: History
  #phase = 'opening'

  constructor(
    readonly simulation: Simulation,
    readonly disk: SimulatedDisk,
    readonly depth: number,
    readonly failure: Failure | undefined,
    readonly random: SeededRandom,
  ) {
    this.#history = failure?.history ?? new History(0, new ModelState())
  }

  async run(steps: number, stride: number): Promise<void> {
    this.#watch(stride)
    const engine = await this.simulation.open(this.disk)
    try {
      await this.#work(engine, steps)
    } catch (error) {
      abandon(engine)
      throw error
    }
    this.#phase = 'closing'
    await engine.close()
    this.disk.onOperation = undefined
    if (steps > 0) await this.#reopen()
    this.simulation.tidy(this.disk)
  }

  /** Sets a copy of the disk aside at every `stride`-th operation. */
  #watch(stride: number): void {
    const { simulation, disk, depth } = this
    if (depth >= simulation.depth) return
    let count = this.random.below(stride)
    disk.onOperation = (kind, path) => {
      if (depth === 0) simulation.result.operations++
      const every = this.#workload?.inBulk === true ? stride * BULK_STRIDE : stride
      if (count++ % every === 0) this.#fail(`${kind} ${path.slice(disk.mount.length)}`)
    }
  }

  #fail(where: string): void {
    const { failure, disk, random } = this
    const seed = random.uint32()
    const latest = this.#workload?.observe() ?? failure?.latest ?? 0
    const number = disk.operations
    this.simulation.add({
      disk: disk.afterPowerLoss(new SeededRandom(seed)),
      depth: this.depth + 1,
      seed,
      description: `${failure === undefined ? '' : `${failure.description}; then `}${this.#phase}, operation ${number}: ${where}`,
      history: this.#history,
      acknowledged: this.#workload?.acknowledged ?? failure?.acknowledged ?? 0,
      latest,
      durable: this.#workload?.engine.core.ring.durable ?? failure?.durable ?? 0,
    })
  }

  async #work(engine: HyphaEngine, steps: number): Promise<void> {
    const sequence = engine.core.committer.visible
    if (this.failure !== undefined) await this.#checkRecovered(engine, this.failure)
    this.#history = new History(sequence, this.#history.stateAt(sequence))
    const workload = new Workload(engine, this.#history, this.random.fork(), this.simulation.bulky && this.depth === 0)
    // What recovery found has been declared by the new run of the log, durably.
    workload.acknowledged = sequence
    this.#workload = workload
    for (let step = 0; step < steps; step++) {
      this.#phase = `step ${step}`
      await workload.step()
      if (this.depth === 0) await this.simulation.recoverAll()
    }
    if (steps === 0) return
    this.#phase = 'settling'
    await workload.settle()
    check(await this.#problems(engine, this.#history.stateAt(workload.observe())), 'at the end of a life')
  }

  /** After an orderly end everything is there, and next to nothing to replay. */
  async #reopen(): Promise<void> {
    const engine = await this.simulation.open(this.disk)
    try {
      const problems = await this.#problems(engine, this.#history.stateAt(this.#history.last))
      const replayed = engine.recovery?.replayedBytes ?? 0
      if (replayed > REPLAY_AFTER_CLOSE_MAX) problems.push(`closed, and there were ${replayed} bytes to replay`)
      check(problems, 'opened after closing')
    } catch (error) {
      abandon(engine)
      throw error
    }
    await engine.close()
  }

  async #checkRecovered(engine: HyphaEngine, failure: Failure): Promise<void> {
    const sequence = engine.core.committer.visible
    const { acknowledged, latest, durable, history } = failure
    const { base } = engine.core.ring
    const problems: string[] = []
    if (sequence < acknowledged) problems.push(`commit ${acknowledged} had been acknowledged, and is lost`)
    if (sequence > latest) problems.push(`only ${latest} had been made`)
    if (base < durable) problems.push(`the log ends at ${base}, and was called durable up to ${durable}`)
    if (problems.length === 0) problems.push(...(await this.#problems(engine, history.stateAt(sequence))))
    check(problems, `recovered to commit ${sequence}`)
  }

  async #problems(engine: HyphaEngine, model: ModelState): Promise<string[]> {
    const found = differences(engine, model)
    const report = await engine.verify()
    for (const { file, offset, table, page, what } of report.faults.slice(0, 5)) {
      const place = [file.slice(this.disk.mount.length), `offset ${offset}`, `table ${table}`, `page ${page}`]
      found.push(`verify: ${what} (${place.join(', ')})`)
    }
    return found
  }
}

function check(problems: string[], when: string): void {
  if (problems.length > 0) throw new SimulationFailure(`${when}: ${problems.join('; ')}`)
}

/** Lets go of an engine of which nothing is expected any more. */
function abandon(engine: HyphaEngine): void {
  engine.locks.close()
  engine.core.region.unlink()
  engine.core.region.detach()
}

/** Runs one seed. Throws SimulationFailure, with the place of the power failure, when a promise is broken. */
export function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run()
}
