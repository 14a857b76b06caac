/**
 * Commit: one shared latch, microseconds. Order of the log = order of visibility = serial order.
 *
 * ```
 *   prepare (no latch): encode, checksum, large values into pages, room on disk, page ids
 *   latch ─► validate ─► APPENDING: bytes into the ring ─► APPLYING ─► store of the ring's tail = COMMIT POINT
 *         ─► apply to pages, one mini-transaction a row ─► publish the sequence ─► IDLE ─► release
 * ```
 * What a death leaves, and what the repairer does (repair.ts):
 * | state | tail | repair |
 * |---|---|---|
 * | APPENDING | before the record | forget it |
 * | APPLYING | before the record | forget it |
 * | APPLYING | behind the record | take back the open mini-transaction, apply the record's operations again (those that carry its sequence are skipped), publish |
 *
 * Invariants
 * 1. Nothing that a caller can do or a disk can lack fails after the commit point: space in log, ring and data file and
 *    page ids are there before. What fails all the same (IO on a page that had been evicted, a broken invariant) leaves
 *    the commit APPLYING: it is rolled forward by ourselves, or else by the next one to take the latch.
 * 2. Between commits: state IDLE, no mini-transaction, every page even.
 */
import { assert } from '../base/assert.js'
import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint, faults } from '../base/fault-points.js'
import { fitsInLeaf, ROW_OVERFLOW } from '../index/node-layout.js'
import type { OverflowValues } from '../index/overflow.js'
import { OperationEncoder } from '../log/operation-encoder.js'
import type { LogRing } from '../log/ring.js'
import type { LogWriter } from '../log/writer.js'
import { RegionReplaced } from '../memory/generation.js'
import type { Latch } from '../memory/latch.js'
import * as L from '../memory/layout.js'
import { SLOT_FRAGMENT_F, slotWord } from '../memory/participants.js'
import { VersionRing } from '../memory/version-ring.js'
import type { Allocator } from '../pages/allocator.js'
import { BLOCK_RESERVE } from '../pages/allocator.js'
import type { Evictor } from '../pages/evictor.js'
import type { PageChanges } from '../pages/page-changes.js'
import { CATALOG_TABLE, type Trees } from './trees.js'
import type { Versions } from './versions.js'

/** A change of one row. `value` undefined: a deletion. */
export interface Operation {
  readonly tableId: number
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
  readonly derived: boolean
  /** Set while a large value stands in overflow pages. */
  overflow?: { reference: Buffer; pages: number[] } | undefined
}

export interface Committed {
  /** 0: the transaction lost against another (or, for no operations, nothing was logged). */
  readonly sequence: number
  /** End of its record in the log. */
  readonly end: number
}

/** Room left in a row for what the engine keeps with a version that leaves the ring. */
export const ROW_MARGIN = 64

/** Log that only checkpoints may use: some tens of completion records. */
const LOG_RESERVE_FOR_CHECKPOINTS = 4096

export interface CommitParts {
  control: { i32: Int32Array; f64: Float64Array }
  latch: Latch
  ring: LogRing
  log: LogWriter
  trees: Trees
  changes: PageChanges
  versions: Versions
  versionRing: VersionRing
  overflow: OverflowValues
  evictor: Evictor
  allocator: Allocator
  repairOwn: () => void
  /** Throws when the region is dead or the database closed. */
  checkAlive: () => void
  /** The region is beyond repair. */
  giveUp: () => void
  /** Told after each publication. */
  published: () => void
  busyTimeoutMs: number
  nowMs: () => number
}

export class Committer {
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #encoder = new OperationEncoder()
  /** Records are kept below a share of the ring; larger transactions come in fragments. */
  readonly #recordBytesMax: number

  constructor(readonly parts: CommitParts) {
    this.#i32 = parts.control.i32
    this.#f64 = parts.control.f64
    this.#recordBytesMax = parts.ring.capacity >> 2
  }

  get visible(): number {
    return this.#f64[L.VISIBLE_F] as number
  }

  /** True when a value of this length stands in the leaf beside its key. */
  fitsInline(keyLength: number, valueLength: number): boolean {
    return fitsInLeaf(this.parts.changes.pageSize, keyLength, valueLength + ROW_MARGIN)
  }

  /**
   * Commits. `validate` runs under the latch; false gives up with sequence 0. Synchronous; waits for the latch up to the
   * busy timeout unless `tryOnly`, which returns undefined when the latch is taken.
   */
  commit(
    operations: readonly Operation[],
    validate: (() => boolean) | undefined,
    tryOnly = false,
  ): Committed | undefined {
    const { parts } = this
    this.#faultIn(operations)
    this.#spillLargeValues(operations)
    try {
      const bytes = this.#encode(operations)
      return bytes <= this.#recordBytesMax
        ? this.#commitWhole(operations, bytes, validate, tryOnly)
        : this.#commitInFragments(operations, validate)
    } finally {
      // Adopted pages are no longer reserved; what is still listed belongs to a commit that did not happen.
      for (const operation of operations) {
        if (operation.overflow === undefined) continue
        parts.overflow.discard(operation.overflow.pages)
        operation.overflow = undefined
      }
    }
  }

  /**
   * Brings the leaves that will change into memory: nobody waits for the disk under the latch, and a page that cannot be
   * read fails its own writer, before there is anything in the log that could never be applied.
   */
  #faultIn(operations: readonly Operation[]): void {
    for (const { tableId, key } of operations) this.parts.trees.of(tableId)?.sequenceOf(key, key.length)
  }

  #spillLargeValues(operations: readonly Operation[]): void {
    for (const operation of operations) {
      const { value, key, tableId } = operation
      if (value === undefined || this.fitsInline(key.length, value.length) || operation.overflow !== undefined) continue
      this.parts.allocator.ensureFree(this.#blocksNeeded(0) + this.parts.overflow.pagesFor(value.length))
      operation.overflow = this.parts.overflow.write(tableId, value)
    }
  }

  #encode(operations: readonly Operation[]): number {
    const encoder = this.#encoder
    encoder.reset()
    for (const { tableId, key, value, derived } of operations) {
      if (encoder.length > this.#recordBytesMax || (value !== undefined && value.length > this.#recordBytesMax)) {
        return Number.POSITIVE_INFINITY
      }
      if (value === undefined) encoder.delete(tableId, key, derived)
      else encoder.put(tableId, key, value, derived)
    }
    encoder.seal()
    return encoder.recordBytesMaximum
  }

  /** Blocks that must be free before the commit point: for all that is dirty, this commit's pages, and the page map. */
  #blocksNeeded(operations: number): number {
    const mapPages = ((this.#i32[L.PAGE_LIMIT_I] as number) << 3) / this.parts.changes.pageSize
    return this.parts.evictor.dirtyCount + 2 * operations + mapPages + BLOCK_RESERVE + 16
  }

  /**
   * Log that stays free behind a commit, so that a full disk can be emptied: what a checkpoint needs after deletes, and
   * what deletes need after everything else.
   */
  #logLeftFree(operations: readonly Operation[]): number {
    if (operations.length === 0) return 0
    const { segmentPayload } = this.parts.ring
    const onlyDeletes = operations.every(operation => operation.value === undefined)
    return onlyDeletes ? Math.min(LOG_RESERVE_FOR_CHECKPOINTS, segmentPayload >> 4) : segmentPayload >> 3
  }

  /** What may fail, fails here. */
  #reserve(operations: readonly Operation[], bytes: number, leftFree: number): void {
    const { parts } = this
    parts.checkAlive()
    const onlyDeletes = operations.every(operation => operation.value === undefined)
    if (!onlyDeletes) parts.allocator.ensureFree(this.#blocksNeeded(operations.length))
    parts.changes.reservePages(Math.min(64, 4 + operations.length))
    this.#reserveLog(bytes + leftFree)
    if (parts.ring.freeSpace() < bytes) parts.log.write()
  }

  #reserveLog(bytes: number): void {
    const { log, ring } = this.parts
    if (log.hasRoom(bytes)) return
    try {
      log.reserve(bytes)
    } catch (error) {
      // A checkpoint gives room back, if there is a segment that only recovery needs.
      const sinceCheckpoint = ring.tail - (this.#f64[L.CHECKPOINT_DURABLE_REDO_F] as number)
      if (isHyphaError(error, 'HYPHA_DISK_FULL') && sinceCheckpoint > ring.segmentPayload) {
        Atomics.store(this.#i32, L.CHECKPOINT_REQUESTED_I, 1)
      }
      throw error
    }
  }

  /** Takes the latch with room for `bytes` in ring and segments. False: taken by another, and `tryOnly`. */
  #acquire(operations: readonly Operation[], bytes: number, tryOnly: boolean): boolean {
    const { parts } = this
    const leftFree = this.#logLeftFree(operations)
    for (;;) {
      this.#reserve(operations, bytes, leftFree)
      if (!parts.latch.tryAcquire()) {
        if (tryOnly) return false
        parts.latch.acquire(parts.busyTimeoutMs)
      }
      try {
        parts.checkAlive()
        if (parts.ring.poison !== 0) parts.ring.checkPoison()
        if (
          (this.#i32[L.COMMIT_STATE_I] as number) !== L.COMMIT_IDLE ||
          (this.#i32[L.UNDO_STATE_I] as number) !== L.UNDO_IDLE
        ) {
          parts.repairOwn()
        }
        if (parts.ring.freeSpace() >= bytes && parts.log.hasRoom(bytes + leftFree)) return true
      } catch (error) {
        parts.latch.release()
        throw error
      }
      parts.latch.release()
    }
  }

  #commitWhole(
    operations: readonly Operation[],
    bytes: number,
    validate: (() => boolean) | undefined,
    tryOnly: boolean,
  ): Committed | undefined {
    const { parts } = this
    if (!this.#acquire(operations, bytes, tryOnly)) return undefined
    let end = 0
    let sequence = 0
    try {
      if (faults.armed) faultPoint('commit.latched')
      if (validate !== undefined && !validate()) return { sequence: 0, end: 0 }
      sequence = this.visible + 1
      const position = parts.ring.tail
      this.#describe(sequence, position, 0)
      end = position + this.#encoder.stageCommit(parts.ring, position, sequence, this.#timestamp())
      this.#applyCommitted(operations, sequence, end)
    } finally {
      parts.latch.release()
    }
    this.#acknowledge(end)
    return { sequence, end }
  }

  /** Behind the commit point: did the region stand when it was passed? See memory/generation.ts. */
  #acknowledge(end: number): void {
    if (Atomics.load(this.#i32, L.HEADER_STATE_I) === L.STATE_DEAD) throw new RegionReplaced(end)
    this.parts.published()
  }

  #timestamp(): number {
    const time = Math.max(this.parts.nowMs(), (this.#f64[L.CLOCK_F] as number) + 0)
    this.#f64[L.CLOCK_F] = time
    return time
  }

  #describe(sequence: number, position: number, firstFragment: number): void {
    this.#f64[L.COMMIT_SEQUENCE_F] = sequence
    this.#f64[L.COMMIT_START_F] = position
    this.#f64[L.COMMIT_FRAGMENTS_F] = firstFragment
    this.#i32[L.COMMIT_OWNER_I] = this.parts.latch.participants.token
    Atomics.store(this.#i32, L.COMMIT_STATE_I, L.COMMIT_APPENDING)
    if (faults.armed) faultPoint('commit.appending')
  }

  /** The record is staged: the commit point, application, publication. */
  #applyCommitted(operations: readonly Operation[], sequence: number, end: number): void {
    const { parts } = this
    this.#f64[L.COMMIT_END_F] = end
    parts.ring.setKeepFrom(this.#f64[L.COMMIT_START_F] as number)
    if (faults.armed) faultPoint('commit.staged')
    Atomics.store(this.#i32, L.COMMIT_STATE_I, L.COMMIT_APPLYING)
    if (faults.armed) faultPoint('commit.before-point')
    parts.ring.publishTail(end)
    try {
      if (faults.armed) faultPoint('commit.after-point')
      let catalogChanged = false
      for (const operation of operations) {
        this.apply(operation, sequence)
        if (operation.tableId === CATALOG_TABLE) catalogChanged = true
      }
      if (faults.armed) faultPoint('commit.applied')
      this.publish(sequence, end, catalogChanged)
    } catch (error) {
      // The commit stands in the log. Roll it forward here; if that fails too, the next one to come tries again.
      this.#selfRepair(operations, error)
    }
  }

  #selfRepair(operations: readonly Operation[], cause: unknown): void {
    try {
      this.parts.repairOwn()
    } catch (error) {
      // Rows may name these pages already: whoever rolls forward adopts them.
      for (const operation of operations) operation.overflow = undefined
      if (error instanceof RegionReplaced) throw new RegionReplaced(this.#f64[L.COMMIT_END_F] as number)
      // Damage and failing disks would meet a new region as well; anything else is a fault of ours, and the log is right.
      if (!isHyphaError(error) || error.code === 'HYPHA_ASSERTION') {
        this.parts.giveUp()
        throw new RegionReplaced(this.#f64[L.COMMIT_END_F] as number)
      }
      throw new HyphaError(
        'HYPHA_POISONED',
        `A commit is in the log and could not be applied to its pages (${error.message}); it will be tried again by the next writer, and by recovery`,
        { cause: error ?? cause },
      )
    }
  }

  /** Applies one operation; skipped when the row carries the sequence already. */
  apply(operation: Operation, sequence: number): void {
    this.parts.versionRing.displaced.length = 0
    this.#applyRow(operation, sequence)
    if (this.parts.versionRing.displaced.length === 0) return
    if (faults.armed) faultPoint('commit.displaced')
    this.parts.versions.ownDisplaced()
  }

  #applyRow(operation: Operation, sequence: number): void {
    const { parts } = this
    const { tableId, key, value } = operation
    parts.versions.makeRoom(VersionRing.roomFor(key.length, parts.changes.pageSize >> 2))
    if (value === undefined) {
      parts.trees.of(tableId)?.delete(key, key.length, sequence)
      return
    }
    const tree = parts.trees.forWriting(tableId, sequence)
    if (this.fitsInline(key.length, value.length)) {
      tree.put(key, key.length, value, 0, value.length, 0, sequence)
      return
    }
    this.#putLarge(operation, tree, sequence)
  }

  #putLarge(operation: Operation, tree: NonNullable<ReturnType<Trees['of']>>, sequence: number): void {
    const { overflow } = this.parts
    const { tableId, key, value } = operation
    assert(value !== undefined, 'only values can be large')
    operation.overflow ??= overflow.write(tableId, value)
    const { reference, pages } = operation.overflow
    if (tree.put(key, key.length, reference, 0, reference.length, ROW_OVERFLOW, sequence)) {
      if (faults.armed) faultPoint('commit.before-adopt')
      overflow.adopt(pages)
      operation.overflow = undefined
      return
    }
    // Applied before, by somebody who died or threw right after: the row has its own pages.
    if (tree.lookup(key, key.length, sequence) && (tree.flags & ROW_OVERFLOW) !== 0) {
      overflow.adopt(overflow.pagesOf(tree.buffer.subarray(tree.valueStart, tree.valueEnd)))
    }
    overflow.discard(pages)
    operation.overflow = undefined
  }

  publish(sequence: number, end: number, catalogChanged: boolean): void {
    this.#f64[L.VISIBLE_POSITION_F] = end
    if (catalogChanged) this.#i32[L.CATALOG_VERSION_I] = ((this.#i32[L.CATALOG_VERSION_I] as number) + 1) | 0
    this.#f64[L.VISIBLE_F] = sequence
    Atomics.add(this.#i32, L.PUBLISH_I, 1)
    if (faults.armed) faultPoint('commit.published')
    this.parts.ring.setKeepFrom(Number.POSITIVE_INFINITY)
    this.#f64[L.COMMITS_F] = (this.#f64[L.COMMITS_F] as number) + 1
    Atomics.store(this.#i32, L.COMMIT_STATE_I, L.COMMIT_IDLE)
  }

  // Fragments: transactions larger than a share of the ring.

  #commitInFragments(operations: readonly Operation[], validate: (() => boolean) | undefined): Committed {
    const { parts } = this
    const word = (slotWord(parts.latch.participants.slot) >> 1) + SLOT_FRAGMENT_F
    const transactionId = Math.floor(Math.random() * 2 ** 40)
    let count = 0
    let first = 0
    const flush = (): void => {
      const bytes = this.#encoder.recordBytesMaximum
      this.#encoder.seal()
      this.#acquire(operations, bytes, false)
      try {
        const position = parts.ring.tail
        if (count === 0) {
          first = position
          this.#f64[word] = first
        }
        const length = this.#encoder.stageFragment(parts.ring, position, this.visible, transactionId, count)
        parts.ring.publishTail(position + length)
        count++
        if (faults.armed) faultPoint('commit.fragment')
      } finally {
        parts.latch.release()
      }
      this.#encoder.clearOperations()
    }
    this.#encoder.reset()
    try {
      for (const operation of operations) this.#encodePart(operation, flush)
      return this.#commitLast(operations, validate, transactionId, count, first)
    } finally {
      this.#f64[word] = 0
    }
  }

  #encodePart(operation: Operation, flush: () => void): void {
    const encoder = this.#encoder
    const { tableId, key, value, derived } = operation
    const most = this.#recordBytesMax >> 1
    if (encoder.length + key.length + (value?.length ?? 0) > most && encoder.count > 0) flush()
    if (value === undefined) {
      encoder.delete(tableId, key, derived)
      return
    }
    if (value.length <= most) {
      encoder.put(tableId, key, value, derived)
      return
    }
    encoder.beginValue(tableId, key, value.length, value.subarray(0, most), derived)
    for (let at = most; at < value.length; at += most) {
      flush()
      encoder.continueValue(value.subarray(at, Math.min(at + most, value.length)))
    }
  }

  #commitLast(
    operations: readonly Operation[],
    validate: (() => boolean) | undefined,
    transactionId: number,
    count: number,
    first: number,
  ): Committed {
    const { parts } = this
    this.#encoder.seal()
    this.#acquire(operations, this.#encoder.recordBytesMaximum, false)
    let end = 0
    let sequence = 0
    try {
      if (validate !== undefined && !validate()) return { sequence: 0, end: 0 }
      sequence = this.visible + 1
      const position = parts.ring.tail
      this.#describe(sequence, position, count > 0 ? first : 0)
      const length =
        count > 0
          ? this.#encoder.stageLastFragment(
              parts.ring,
              position,
              sequence,
              this.#timestamp(),
              transactionId,
              count,
              first,
            )
          : this.#encoder.stageCommit(parts.ring, position, sequence, this.#timestamp())
      end = position + length
      this.#applyCommitted(operations, sequence, end)
    } finally {
      parts.latch.release()
    }
    this.#acknowledge(end)
    return { sequence, end }
  }

  /** Appends the record that a checkpoint is complete. Takes the latch. Returns its end. */
  recordCheckpoint(epoch: number, position: number): number {
    const { parts } = this
    const encoder = this.#encoder
    encoder.reset()
    const bytes = encoder.recordBytesMaximum
    this.#acquire([], bytes, false)
    try {
      const at = parts.ring.tail
      const end = at + encoder.stageCheckpoint(parts.ring, at, this.visible, this.#timestamp(), epoch, position)
      parts.ring.publishTail(end)
      return end
    } finally {
      parts.latch.release()
    }
  }
}
