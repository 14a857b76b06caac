/**
 * The engine as the layers above see it: tables of bytes by name, reading, transactions, life and death of the thread's
 * membership.
 *
 * ```
 *   open ──close()──► closing ──► closed        every method but close throws HYPHA_CLOSED then
 * ```
 */
import { HyphaError } from '../base/errors.js'
import { MAX_TABLE_NAME_BYTES, MAX_VALUE_BYTES, maxKeyBytes } from '../base/limits.js'
import { RegionReplaced } from '../memory/generation.js'
import * as L from '../memory/layout.js'
import type { ByteLockFile } from '../os/byte-locks.js'
import type {
  Cursor,
  Engine,
  KeyRange,
  Reader,
  Snapshot,
  Table,
  TableOptions,
  Transaction,
  TransactionOptions,
} from '../txn/api.js'
import { NewestReader } from '../txn/reading.js'
import { Runner, WRITTEN } from '../txn/runner.js'
import { SnapshotReader } from '../txn/snapshot.js'
import type { TransactionParts } from '../txn/transaction.js'
import { CATALOG_TABLE } from '../txn/trees.js'
import { Catalog } from './catalog.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'
import { GenerationReader } from './generation-reader.js'
import { Housekeeping } from './housekeeping.js'
import { anyoneElse, takeOpenByte } from './membership.js'
import type { ResolvedOptions } from './options.js'
import type { RecoveryReport } from './recovery.js'
import { replaceRegion } from './replacement.js'
import { type EngineStats, engineStats } from './stats.js'
import { type VerifyReport, verifyEngine } from './verify.js'

/** Room that the engine keeps for itself in a key (kept versions carry table and sequence). */
const KEY_MARGIN = 16
/** A call that meets one dead region after the other gives up. */
const REPLACEMENTS_MAX = 3

/** What belongs to one generation of the region. */
interface Attached {
  core: Core
  runner: Runner
  parts: TransactionParts
  newest: NewestReader
  catalog: Catalog
  housekeeping: Housekeeping
  /** Once this thread has gone on: what the next generation has of this one's log. */
  savedTo: number
}

export class HyphaEngine implements Engine {
  readonly latest: Reader
  readonly maximumKeyBytes: number
  #now: Attached
  #closing: Promise<void> | undefined
  #leaving = false

  constructor(
    core: Core,
    readonly locks: ByteLockFile,
    readonly paths: DatabasePaths,
    readonly options: ResolvedOptions,
    /** What recovery did, when this open built the region. */
    readonly recovery: RecoveryReport | undefined,
  ) {
    this.maximumKeyBytes = maxKeyBytes(core.region.geometry.pageSize) - KEY_MARGIN
    this.#now = this.#attach(core)
    this.latest = new GenerationReader(() => this.#current().newest)
  }

  #attach(core: Core): Attached {
    const { options } = this
    const { control } = core.region
    const parts: TransactionParts = {
      trees: core.trees,
      overflow: core.overflow,
      snapshots: core.snapshots,
      checkAlive: core.checkAlive,
      committer: core.committer,
      control,
      checkRow: (table, key, value) => this.#checkRow(table, key, value),
    }
    const housekeeping = new Housekeeping(core, this.paths, options, () => void this.#current())
    const sleepWord = new Int32Array(new SharedArrayBuffer(4))
    const runner = new Runner({
      ...parts,
      whenDurable: position => core.log.whenDurable(position),
      syncNow: () => core.log.syncSync(),
      notAwaited: () => housekeeping.committedNotAwaited(),
      durability: options.durability,
      readOnly: options.readOnly,
      token: () => core.participants.token,
      busyTimeoutMs: options.busyTimeoutMs,
      sleepSync: milliseconds => {
        Atomics.wait(sleepWord, 0, 0, milliseconds)
      },
      monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
      survived: end => this.#survived(attached, end),
    })
    const newest = new NewestReader(parts)
    const catalog = new Catalog(newest, runner, () => Atomics.load(control.i32, L.CATALOG_VERSION_I))
    housekeeping.start()
    const attached: Attached = { core, runner, parts, newest, catalog, housekeeping, savedTo: 0 }
    return attached
  }

  get directory(): string {
    return this.paths.directory
  }

  get core(): Core {
    return this.#now.core
  }

  /** The generation that lives; goes on to the next one when ours was given up. */
  #current(): Attached {
    const { core } = this.#now
    if (core.closed || this.#leaving || core.region.state !== L.STATE_DEAD) return this.#now
    this.#replace()
    return this.#now
  }

  #replace(): void {
    const old = this.#now
    const { core } = replaceRegion(old.core, this.locks, this.paths, this.options)
    void old.housekeeping.stop()
    old.savedTo = old.core.region.control.f64[L.HEADER_SUCCEEDED_AT_F] as number
    this.#now = this.#attach(core)
    old.core.abandon()
  }

  /** Replaces the region although it works: its name has vanished and nobody new could join. */
  renewRegion(): void {
    this.core.giveUp()
    this.#current()
  }

  /** Runs again what was begun in a region that was given up; what the next one found committed is done. */
  async #throughReplacement<T>(work: (now: Attached) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const now = this.#current()
      try {
        return await work(now)
      } catch (error) {
        if (this.#wasReplaced(now, error, attempt)) continue
        throw error
      }
    }
  }

  #throughReplacementSync<T>(work: (now: Attached) => T): T {
    for (let attempt = 0; ; attempt++) {
      const now = this.#current()
      try {
        return work(now)
      } catch (error) {
        if (this.#wasReplaced(now, error, attempt)) continue
        throw error
      }
    }
  }

  #wasReplaced(now: Attached, error: unknown, attempt: number): boolean {
    return (
      error instanceof RegionReplaced &&
      attempt < REPLACEMENTS_MAX &&
      (now !== this.#now || now.core.region.state === L.STATE_DEAD)
    )
  }

  /**
   * For the runner: the region died around a commit whose record ends at `end`. True when the next region's log has it,
   * so that it is committed and durable. The region itself says so: this thread may have slept through several, and where
   * the newest one begins says nothing about a record that came too late for the first.
   */
  #survived(attached: Attached, end: number): boolean {
    if (end === 0) return false
    try {
      this.#current()
    } catch (error) {
      throw new HyphaError(
        'HYPHA_OUTCOME_UNKNOWN',
        'The shared region was given up around this commit and no other could be built to say whether the log has it. Look for its effect before writing it again',
        { cause: error },
      )
    }
    return attached.savedTo >= end
  }

  /** False once this thread has left, or the region was given up. */
  get isAlive(): boolean {
    return !this.core.closed && this.core.region.state === L.STATE_LIVE
  }

  /** Changes with every table created or dropped, in whatever process. */
  get catalogVersion(): number {
    return Atomics.load(this.core.region.control.i32, L.CATALOG_VERSION_I)
  }

  #checkRow(table: Table, key: Uint8Array, value: Uint8Array | undefined): void {
    if (!(key instanceof Uint8Array)) throw new HyphaError('HYPHA_INVALID', 'A key is a Uint8Array (or Buffer)')
    if (value !== undefined && !(value instanceof Uint8Array))
      throw new HyphaError('HYPHA_INVALID', 'A value is a Uint8Array (or Buffer)')
    if (key.length > this.maximumKeyBytes) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `A key of ${key.length} bytes is too long: with pages of ${this.core.region.geometry.pageSize} bytes keep keys within ${this.maximumKeyBytes}`,
      )
    }
    if (value !== undefined && value.length > MAX_VALUE_BYTES) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `A value of ${value.length} bytes is too large: ${MAX_VALUE_BYTES} is the most`,
      )
    }
    if (table.id === CATALOG_TABLE) return
    this.#now.catalog.check(table)
  }

  // Tables

  openTable(name: string, options: TableOptions = {}): Table {
    const bytes = typeof name === 'string' ? Buffer.byteLength(name) : 0
    if (bytes === 0 || bytes > MAX_TABLE_NAME_BYTES) {
      throw new HyphaError('HYPHA_INVALID', `A table's name is a text of 1 to ${MAX_TABLE_NAME_BYTES} bytes`)
    }
    return this.#throughReplacementSync(({ catalog }) => catalog.open(name, options, this.options.readOnly))
  }

  lookupTable(name: string): Table | undefined {
    return this.#throughReplacementSync(({ catalog }) => catalog.lookup(name))
  }

  tables(): Table[] {
    return this.#throughReplacementSync(({ catalog }) => catalog.all())
  }

  dropTable(table: Table): void {
    this.#throughReplacementSync(({ catalog, housekeeping }) => {
      catalog.drop(table)
      housekeeping.tableDropped()
    })
  }

  // Reading and writing

  transact<T>(work: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T> {
    return this.#throughReplacement(now => now.runner.transact(work, options))
  }

  transactSync<T>(work: (tx: Transaction) => T, options?: TransactionOptions): T {
    return this.#throughReplacementSync(now => now.runner.transactSync(work, options))
  }

  put(table: Table, key: Uint8Array, value: Uint8Array, options?: TransactionOptions): Promise<void> {
    return this.#write(table, key, value, options)
  }

  delete(table: Table, key: Uint8Array, options?: TransactionOptions): Promise<void> {
    return this.#write(table, key, undefined, options)
  }

  #write(table: Table, key: Uint8Array, value: Uint8Array | undefined, options?: TransactionOptions): Promise<void> {
    const now = this.#current()
    try {
      const written = now.runner.write(table, key, value, options?.durability)
      return written === WRITTEN
        ? written
        : written.catch((error: unknown) => this.#writeAgain(error, table, key, value, options))
    } catch (error) {
      return this.#writeAgain(error, table, key, value, options)
    }
  }

  async #writeAgain(
    error: unknown,
    table: Table,
    key: Uint8Array,
    value: Uint8Array | undefined,
    options?: TransactionOptions,
  ): Promise<void> {
    if (!(error instanceof RegionReplaced)) throw error
    await this.#throughReplacement(now => now.runner.write(table, key, value, options?.durability))
  }

  snapshot(): Snapshot {
    return this.#throughReplacementSync(({ parts }) => new SnapshotReader(parts))
  }

  /** Convenience for tools: a cursor over the newest state. */
  range(table: Table, range: KeyRange = {}): Cursor {
    return this.latest.range(table, range)
  }

  // Care

  async flushed(): Promise<void> {
    await this.#throughReplacement(now => {
      now.core.checkAlive()
      return now.core.log.sync()
    })
  }

  checkpoint(): Promise<void> {
    return this.#throughReplacement(({ core, housekeeping }) => {
      core.checkAlive()
      return housekeeping.checkpoint()
    })
  }

  /** One round of everything that the housekeeper does: for tests, and for who runs without one. */
  housekeep(): void {
    this.#current().housekeeping.round()
  }

  verify(): Promise<VerifyReport> {
    const { core } = this.#current()
    core.checkAlive()
    return verifyEngine(core, this.paths)
  }

  stats(): EngineStats {
    const { core } = this.#current()
    core.checkAlive()
    return engineStats(core, this.paths)
  }

  /**
   * Leaves. The last one to leave writes a checkpoint and removes the region. Waits until all that was committed here is
   * on disk.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    let failure: unknown
    try {
      await this.#settle()
    } catch (error) {
      failure = error
    }
    this.#leaving = true
    const { core, locks, options } = this
    await takeOpenByte(locks, options.busyTimeoutMs)
    try {
      if (core.region.state === L.STATE_LIVE) core.reapDead()
      if (!anyoneElse(locks)) await this.#lastOut()
    } catch (error) {
      failure ??= error
    } finally {
      core.leave()
      await core.log.close()
      core.participants.unregister()
      locks.close()
      core.file.file.close()
      core.region.detach()
    }
    if (failure !== undefined) throw failure
  }

  /** All that was committed here is on disk, in whatever generation of the region. */
  async #settle(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const now = this.#current()
      await now.housekeeping.stop()
      const { core } = now
      try {
        if (core.ring.poison === 0) await core.log.sync()
        return
      } catch (error) {
        if (!this.#wasReplaced(now, error, attempt)) throw error
      }
    }
  }

  async #lastOut(): Promise<void> {
    const { core, paths, options } = this
    if (core.region.state !== L.STATE_LIVE || core.ring.poison !== 0) return
    const { housekeeping } = this.#now
    housekeeping.dropVersions()
    if (housekeeping.checkpointIsWorthwhile()) await housekeeping.checkpoint()
    Atomics.store(core.region.control.i32, L.HEADER_STATE_I, L.STATE_DEAD)
    options.files.unlink(paths.region)
    core.region.unlink()
  }
}
