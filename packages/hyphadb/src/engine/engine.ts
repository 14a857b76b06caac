/**
 * The engine as the layers above see it: tables of bytes by name, reading, transactions, life and death of the thread's
 * membership.
 *
 * ```
 *   open ──close()──► closing ──► closed        every method but close throws HYPHA_CLOSED then
 * ```
 */
import { HyphaError } from '../base/errors.js'
import { maxKeyBytes, MAX_TABLE_NAME_BYTES, MAX_VALUE_BYTES } from '../base/limits.js'
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
import { Runner } from '../txn/runner.js'
import { SnapshotReader } from '../txn/snapshot.js'
import type { TransactionParts } from '../txn/transaction.js'
import { CATALOG_TABLE } from '../txn/trees.js'
import { Catalog } from './catalog.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'
import { Housekeeping } from './housekeeping.js'
import { anyoneElse, takeOpenByte } from './membership.js'
import type { ResolvedOptions } from './options.js'
import type { RecoveryReport } from './recovery.js'
import { type EngineStats, engineStats } from './stats.js'
import { type VerifyReport, verifyEngine } from './verify.js'

/** Room that the engine keeps for itself in a key (kept versions carry table and sequence). */
const KEY_MARGIN = 16

export class HyphaEngine implements Engine {
  readonly latest: Reader
  readonly maximumKeyBytes: number
  readonly #runner: Runner
  readonly #parts: TransactionParts
  readonly #catalog: Catalog
  readonly #housekeeping: Housekeeping
  #closing: Promise<void> | undefined

  constructor(
    readonly core: Core,
    readonly locks: ByteLockFile,
    readonly paths: DatabasePaths,
    readonly options: ResolvedOptions,
    /** What recovery did, when this open built the region. */
    readonly recovery: RecoveryReport | undefined,
  ) {
    const { control } = core.region
    this.maximumKeyBytes = maxKeyBytes(core.region.geometry.pageSize) - KEY_MARGIN
    this.#parts = {
      trees: core.trees,
      overflow: core.overflow,
      snapshots: core.snapshots,
      checkAlive: core.checkAlive,
      committer: core.committer,
      control,
      checkRow: (table, key, value) => this.#checkRow(table, key, value),
    }
    const sleepWord = new Int32Array(new SharedArrayBuffer(4))
    this.#runner = new Runner({
      ...this.#parts,
      whenDurable: position => core.log.whenDurable(position),
      syncNow: () => core.log.syncSync(),
      notAwaited: () => this.#housekeeping.committedNotAwaited(),
      durability: options.durability,
      readOnly: options.readOnly,
      token: () => core.participants.token,
      busyTimeoutMs: options.busyTimeoutMs,
      sleepSync: milliseconds => {
        Atomics.wait(sleepWord, 0, 0, milliseconds)
      },
      monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
    })
    this.latest = new NewestReader(this.#parts)
    this.#catalog = new Catalog(this.latest, this.#runner, () => this.catalogVersion)
    this.#housekeeping = new Housekeeping(core, paths, options)
    this.#housekeeping.start()
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
    if (value !== undefined && !(value instanceof Uint8Array)) throw new HyphaError('HYPHA_INVALID', 'A value is a Uint8Array (or Buffer)')
    if (key.length > this.maximumKeyBytes) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `A key of ${key.length} bytes is too long: with pages of ${this.core.region.geometry.pageSize} bytes keep keys within ${this.maximumKeyBytes}`,
      )
    }
    if (value !== undefined && value.length > MAX_VALUE_BYTES) {
      throw new HyphaError('HYPHA_INVALID', `A value of ${value.length} bytes is too large: ${MAX_VALUE_BYTES} is the most`)
    }
    if (table.id === CATALOG_TABLE) return
    this.#catalog.check(table)
  }

  // Tables

  openTable(name: string, options: TableOptions = {}): Table {
    this.core.checkAlive()
    const bytes = typeof name === 'string' ? Buffer.byteLength(name) : 0
    if (bytes === 0 || bytes > MAX_TABLE_NAME_BYTES) {
      throw new HyphaError('HYPHA_INVALID', `A table's name is a text of 1 to ${MAX_TABLE_NAME_BYTES} bytes`)
    }
    return this.#catalog.open(name, options, this.options.readOnly)
  }

  lookupTable(name: string): Table | undefined {
    this.core.checkAlive()
    return this.#catalog.lookup(name)
  }

  tables(): Table[] {
    this.core.checkAlive()
    return this.#catalog.all()
  }

  dropTable(table: Table): void {
    this.core.checkAlive()
    this.#catalog.drop(table)
    this.#housekeeping.tableDropped()
  }

  // Reading and writing

  transact<T>(work: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T> {
    return this.#runner.transact(work, options)
  }

  transactSync<T>(work: (tx: Transaction) => T, options?: TransactionOptions): T {
    return this.#runner.transactSync(work, options)
  }

  put(table: Table, key: Uint8Array, value: Uint8Array, options?: TransactionOptions): Promise<void> {
    return this.#runner.write(table, key, value, options?.durability)
  }

  delete(table: Table, key: Uint8Array, options?: TransactionOptions): Promise<void> {
    return this.#runner.write(table, key, undefined, options?.durability)
  }

  snapshot(): Snapshot {
    return new SnapshotReader(this.#parts)
  }

  /** Convenience for tools: a cursor over the newest state. */
  range(table: Table, range: KeyRange = {}): Cursor {
    return this.latest.range(table, range)
  }

  // Care

  async flushed(): Promise<void> {
    this.core.checkAlive()
    await this.core.log.sync()
  }

  checkpoint(): Promise<void> {
    this.core.checkAlive()
    return this.#housekeeping.checkpoint()
  }

  /** One round of everything that the housekeeper does: for tests, and for who runs without one. */
  housekeep(): void {
    this.#housekeeping.round()
  }

  verify(): Promise<VerifyReport> {
    this.core.checkAlive()
    return verifyEngine(this.core, this.paths)
  }

  stats(): EngineStats {
    this.core.checkAlive()
    return engineStats(this.core, this.paths)
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
    const { core, locks, paths, options } = this
    await this.#housekeeping.stop()
    let failure: unknown
    try {
      if (core.region.state === L.STATE_LIVE && core.ring.poison === 0) await core.log.sync()
    } catch (error) {
      failure = error
    }
    await takeOpenByte(locks, options.busyTimeoutMs)
    try {
      core.reapDead()
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
    void paths
  }

  async #lastOut(): Promise<void> {
    const { core, paths, options } = this
    if (core.region.state !== L.STATE_LIVE || core.ring.poison !== 0) return
    if (this.#housekeeping.checkpointIsWorthwhile()) await this.#housekeeping.checkpoint()
    Atomics.store(core.region.control.i32, L.HEADER_STATE_I, L.STATE_DEAD)
    options.files.unlink(paths.region)
    core.region.unlink()
  }
}
