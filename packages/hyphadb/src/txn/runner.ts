/**
 * Runs transactions: begins, calls back, commits, and begins again after a conflict, fairly.
 *
 * Fairness: a transaction that has lost a few times takes the reservation, an advisory lease on the right to commit, for
 * about as long as its last attempt took. Others hold back while it stands, so a long transaction wins against many short
 * ones. It expires by itself: a holder that dies or is stopped delays the others by one lease at most.
 */
import { HyphaError } from '../base/errors.js'
import { RegionReplaced } from '../memory/generation.js'
import * as L from '../memory/layout.js'
import type { Durability, Table, TransactionOptions } from './api.js'
import type { Committed, Operation } from './committer.js'
import { OpenTransaction, type TransactionParts } from './transaction.js'

const DEFAULT_RETRIES = 100
/** Losses before the reservation is asked for. */
const PATIENCE = 3
const LEASE_MS_MIN = 2
const LEASE_MS_MAX = 1000

export interface RunnerParts extends TransactionParts {
  /** Resolves when the log is durable up to there. */
  whenDurable: (position: number) => Promise<void>
  syncNow: () => void
  /** Tells that something was committed that nobody waits for: it must be on disk within the flush interval. */
  notAwaited: () => void
  durability: Durability
  readOnly: boolean
  /** Whether a commit whose record ends there is in the log of the region that came after a dead one. */
  survived: (end: number) => boolean
  token: () => number
  busyTimeoutMs: number
  /** A moment for others, in the middle of a synchronous call. */
  sleepSync: (milliseconds: number) => void
  /** Monotonic, the same for all processes of the machine. */
  monotonicMs: () => number
}

const yieldTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

export class Runner {
  readonly #i32: Int32Array
  readonly #f64: Float64Array

  constructor(readonly parts: RunnerParts) {
    this.#i32 = parts.control.i32
    this.#f64 = parts.control.f64
  }

  /** Blind writes of single rows. */
  write(
    table: Table,
    key: Uint8Array,
    value: Uint8Array | undefined,
    durability: Durability | undefined,
  ): Promise<void> {
    this.#checkWritable()
    this.parts.checkRow(table, key, value)
    const operations: Operation[] = [{ tableId: table.id, key, value, derived: false, overflow: undefined }]
    const committed = this.#reservedByOther() ? undefined : this.#commitBlind(table, operations)
    if (committed !== undefined && committed.sequence > 0) return this.#awaitDurable(committed, durability)
    // The caller has its buffers back when this returns.
    const kept = {
      ...(operations[0] as Operation),
      key: Buffer.from(key),
      value: value === undefined ? undefined : Buffer.from(value),
    }
    return this.#writeLater(table, [kept], durability)
  }

  #checkWritable(): void {
    this.parts.checkAlive()
    if (this.parts.readOnly) {
      throw new HyphaError('HYPHA_READ_ONLY', 'The database was opened with readOnly: true. Open it without to write')
    }
  }

  #commitBlind(table: Table, operations: readonly Operation[]): Committed | undefined {
    const catalog = this.#i32[L.CATALOG_VERSION_I] as number
    this.parts.checkRow(table, operations[0]!.key, operations[0]!.value)
    return this.#committed(() =>
      this.parts.committer.commit(operations, () => (this.#i32[L.CATALOG_VERSION_I] as number) === catalog, true),
    )
  }

  /** A commit whose region died behind its commit point counts, if the next region's log has it. */
  #committed(commit: () => Committed | undefined): Committed | undefined {
    try {
      return commit()
    } catch (error) {
      if (error instanceof RegionReplaced && this.parts.survived(error.committedEnd)) return { sequence: 1, end: 0 }
      throw error
    }
  }

  async #writeLater(table: Table, operations: readonly Operation[], durability: Durability | undefined): Promise<void> {
    const wait = new Waiting(this)
    for (;;) {
      await wait.turn()
      if (this.#reservedByOther()) continue
      const committed = this.#commitBlind(table, operations)
      if (committed !== undefined && committed.sequence > 0) return this.#awaitDurable(committed, durability)
      if (committed === undefined) wait.latchTaken()
    }
  }

  /** The region died behind the commit point. What its successor found in the log is durable; the rest runs again. */
  #outlived(error: unknown, end: number): void {
    if (error instanceof RegionReplaced && this.parts.survived(end)) return
    throw error
  }

  #awaitDurable(committed: Committed, durability: Durability | undefined): Promise<void> {
    if (committed.end === 0) return WRITTEN
    if ((durability ?? this.parts.durability) === 'commit') {
      const durable = this.parts.whenDurable(committed.end)
      return durable.catch((error: unknown) => this.#outlived(error, committed.end))
    }
    this.parts.notAwaited()
    return WRITTEN
  }

  /** The first attempt runs, and when the latch is free commits, before this returns. */
  async transact<T>(work: (tx: OpenTransaction) => T | Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const losses = new Losses(this, options)
    const wait = new Waiting(this)
    for (;;) {
      while (this.#reservedByOther()) await wait.turn()
      const tx = this.#begin(options)
      let result: T
      try {
        const produced = work(tx)
        result = isPromise(produced) ? await produced : produced
        let committed = this.#committed(() => tx.tryCommit(true))
        while (committed === undefined) {
          wait.latchTaken()
          await wait.turn()
          if (!this.#reservedByOther()) committed = this.#committed(() => tx.tryCommit(true))
        }
        if (committed.end >= 0) {
          losses.won()
          tx.close() // its snapshot is not needed while the disk is waited for
          await this.#awaitDurable(committed, options.durability)
          return result
        }
      } catch (error) {
        losses.won()
        throw error
      } finally {
        tx.close()
      }
      losses.another()
    }
  }

  transactSync<T>(work: (tx: OpenTransaction) => T, options: TransactionOptions = {}): T {
    const losses = new Losses(this, options)
    for (;;) {
      this.#waitForReservationSync()
      const tx = this.#begin(options)
      try {
        const result = work(tx)
        if (isPromise(result)) {
          throw new HyphaError(
            'HYPHA_INVALID',
            'The callback of transactSync returned a promise. Use transaction() for asynchronous work',
          )
        }
        const committed = this.#committed(() => tx.tryCommit(false))
        if (committed !== undefined && committed.end >= 0) {
          losses.won()
          if (committed.end > 0) this.#settleSync(committed.end, options.durability)
          return result
        }
      } catch (error) {
        losses.won()
        throw error
      } finally {
        tx.close()
      }
      losses.another()
    }
  }

  #settleSync(end: number, durability: Durability | undefined): void {
    if ((durability ?? this.parts.durability) === 'commit') {
      try {
        this.parts.syncNow()
      } catch (error) {
        this.#outlived(error, end)
      }
    } else this.parts.notAwaited()
  }

  #begin(options: TransactionOptions): OpenTransaction {
    this.parts.checkAlive()
    const isolation = options.isolation ?? 'serializable'
    if (isolation !== 'serializable' && isolation !== 'snapshot') {
      throw new HyphaError('HYPHA_INVALID', `isolation is 'serializable' or 'snapshot', not ${String(isolation)}`)
    }
    return new OpenTransaction(this.parts, isolation, this.parts.readOnly)
  }

  #waitForReservationSync(): void {
    while (this.#reservedByOther()) this.parts.sleepSync(0.2)
  }

  // The reservation

  #reservedByOther(): boolean {
    const owner = this.#i32[L.RESERVATION_OWNER_I] as number
    if (owner === 0 || owner === this.parts.token()) return false
    return (this.#f64[L.RESERVATION_UNTIL_F] as number) > this.parts.monotonicMs()
  }

  /** @internal */
  reserve(milliseconds: number): void {
    if (this.#reservedByOther()) return
    const seen = this.#i32[L.RESERVATION_OWNER_I] as number
    if (Atomics.compareExchange(this.#i32, L.RESERVATION_OWNER_I, seen, this.parts.token()) !== seen) return
    const lease = Math.min(LEASE_MS_MAX, Math.max(LEASE_MS_MIN, milliseconds * 2))
    this.#f64[L.RESERVATION_UNTIL_F] = this.parts.monotonicMs() + lease
  }

  /** @internal */
  unreserve(): void {
    Atomics.compareExchange(this.#i32, L.RESERVATION_OWNER_I, this.parts.token(), 0)
  }

  /** @internal */
  countConflict(): void {
    this.#f64[L.CONFLICTS_F] = (this.#f64[L.CONFLICTS_F] as number) + 1
  }
}

/** The promise of a write that nobody has to wait for. */
export const WRITTEN: Promise<void> = Promise.resolve()

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** Counts lost attempts of one transaction; asks for the reservation; gives up in the end. */
class Losses {
  #count = 0
  #started: number
  readonly #most: number

  constructor(
    readonly runner: Runner,
    options: TransactionOptions,
  ) {
    this.#most = options.retries ?? DEFAULT_RETRIES
    this.#started = performance.now()
  }

  another(): void {
    this.runner.countConflict()
    if (++this.#count > this.#most) {
      this.won()
      throw new HyphaError(
        'HYPHA_CONFLICT',
        `The transaction lost ${this.#count} times against others and was given up; nothing of it was written. Run it again, make it smaller, or raise \`retries\``,
      )
    }
    const now = performance.now()
    if (this.#count >= PATIENCE) this.runner.reserve(now - this.#started)
    this.#started = now
  }

  won(): void {
    if (this.#count >= PATIENCE) this.runner.unreserve()
  }
}

/** Waits for the commit latch without blocking the event loop. HYPHA_BUSY when its owner does not move. */
class Waiting {
  #turns = 0
  #deadline = 0

  constructor(readonly runner: Runner) {}

  async turn(): Promise<void> {
    if (this.#turns++ < 20) await yieldTurn()
    else await pause(Math.min(10, this.#turns >> 4))
  }

  latchTaken(): void {
    const { parts } = this.runner
    const { latch } = parts.committer.parts
    const owner = latch.owner
    if (owner === 0) return
    if (latch.recoverFromDeath(owner)) return
    if (this.#deadline === 0) this.#deadline = performance.now() + parts.busyTimeoutMs
    else if (performance.now() > this.#deadline) throw latch.busy(owner)
  }
}
