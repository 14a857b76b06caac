/**
 * Scanning: a cursor copies one leaf into private memory, validates once, and serves its rows from there. The next leaf
 * is found by descending to the fence of the copy, so that splits, merges and evictions between two leaves do no harm:
 * whatever the tree looks like by then, the fence divides what has been served from what has not.
 *
 * ```
 *            load            next: rows of the copy
 *   start ----------> leaf <------------------------.
 *                      |  copy used up: load by fence |
 *                      |-----------------------------'
 *                      '-- bound or end of tree --> done --close--> closed
 * ```
 * A copy never grows stale for the sequence that the cursor reads at: what it needs of the version ring stays as long as
 * its snapshot is held. A version that was trimmed all the same means that the snapshot was not.
 */
import type { PageMemory } from '../memory/page-memory.js'
import {
  PAGE_HEADER_BYTES,
  PAGE_ID,
  type PageReader,
  type VersionOut,
  type VersionStore,
} from '../pages/page-access.js'
import type { Descent } from './descent.js'
import { borrowLeafCopy, type LeafCopy, returnLeafCopy } from './leaf-copies.js'
import {
  fenceBytes,
  LEAF_SUFFIX,
  nodeCount,
  nodeHighLength,
  nodeLowLength,
  nodePrefixLength,
  ROW_DELETED,
  ROW_FLAGS,
  ROW_POINTER,
  ROW_VALUE_LENGTH,
  SLOT_BYTES,
  slotsOffset,
} from './node-layout.js'
import { SEEK_AT, SEEK_BEFORE, SEEK_LAST, searchNode } from './node-search.js'
import { corruptNode, snapshotTooOld } from './tree-errors.js'

/** Bounds of a scan. Without a bound it reaches to the end of the table on that side. */
export interface CursorRange {
  gte?: Uint8Array | undefined
  gt?: Uint8Array | undefined
  lte?: Uint8Array | undefined
  lt?: Uint8Array | undefined
  reverse?: boolean | undefined
}

const NO_KEY = new Uint8Array(0)

export class TreeCursor implements VersionOut {
  /** The current value is `buffer[valueStart, valueEnd)`: private memory, unchanged until the next `next()`. */
  buffer: Buffer
  valueStart = 0
  valueEnd = 0
  flags = 0
  /** Commit sequence that wrote the current row. */
  sequence = 0
  keyLength = 0

  private copy: LeafCopy
  private page: PageMemory
  private readonly pageSize: number
  private readonly low: Uint8Array
  private readonly lowExclusive: number
  private readonly high: Uint8Array | undefined
  private readonly highInclusive: number
  private readonly step: number
  /** The slot of the current row, and the slot where this leaf's part of the range ends (in the direction of the scan). */
  private slot = 0
  private slotEnd = 0
  private count = 0
  private slots = 0
  private prefixLength = 0
  /** First byte of the key in the copy's key storage: chosen so that suffixes are aligned there. */
  private keyShift = 0
  private suffixStart = 0
  private keyIsReady = false
  private isLast = false
  private isStarted = false
  private isClosed = false
  /** Where versions that are not in the leaf are read to; a separate buffer, as the leaf's copy must last. */
  private readonly older: VersionOut = { buffer: Buffer.alloc(0), flags: 0, sequence: 0 }

  constructor(
    private readonly pages: PageReader,
    private readonly descent: Descent,
    private readonly versions: VersionStore,
    range: CursorRange,
    private readonly atSequence: number,
  ) {
    this.pageSize = pages.pageSize
    this.copy = borrowLeafCopy(this.pageSize)
    this.page = this.copy.page
    this.buffer = this.page.buffer
    this.low = range.gt ?? range.gte ?? NO_KEY
    this.lowExclusive = range.gt === undefined ? 0 : 1
    this.high = range.lt ?? range.lte
    this.highInclusive = range.lt === undefined ? 1 : 0
    this.step = range.reverse === true ? -1 : 1
  }

  /** Moves to the next row. False at the end, and ever after. */
  next(): boolean {
    if (!this.isStarted && !this.start()) return false
    for (;;) {
      this.slot += this.step
      if (this.slot === this.slotEnd) {
        if (!this.advanceLeaf()) return false
        continue
      }
      const page = this.page
      const word = page.i32[((this.slots + this.slot * SLOT_BYTES) >> 2) + 1]!
      const entry = (word & 0xffff) << 3
      const suffixLength = word >>> 16
      const start = entry + LEAF_SUFFIX + ((suffixLength + 3) & ~3)
      const sequence = page.f64[entry >> 3]!
      const length = page.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
      const flags = page.u16[(entry + ROW_FLAGS) >> 1]!
      if (!(length >= 0 && start + length <= this.pageSize)) throw this.damaged()
      this.keyLength = this.prefixLength + suffixLength
      this.suffixStart = entry + LEAF_SUFFIX
      this.keyIsReady = false
      if (sequence > this.atSequence) {
        if (this.readOlder(entry)) return true
        continue
      }
      if ((flags & ROW_DELETED) !== 0) continue
      this.buffer = page.buffer
      this.valueStart = start
      this.valueEnd = start + length
      this.flags = flags
      this.sequence = sequence
      return true
    }
  }

  /** The current key's bytes: `keyBuffer[0, keyLength)`, put together when asked for, valid until the next `next()`. */
  get keyBuffer(): Buffer {
    const view = this.copy.keyViews[this.keyShift]!
    if (!this.keyIsReady) this.prepareKey()
    return view
  }

  /** A copy of the current key. */
  key(): Buffer {
    return Buffer.from(this.keyBuffer.subarray(0, this.keyLength))
  }

  /** Gives the private memory back. The fields are not to be used afterwards. */
  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.isStarted = true
    this.isLast = true
    this.slot = 0
    this.slotEnd = this.step
    this.count = 0
    returnLeafCopy(this.copy, this.pageSize)
  }

  private prepareKey(): void {
    const length = this.keyLength - this.prefixLength
    const from = this.suffixStart
    const to = this.keyShift + this.prefixLength
    if (length <= 128) {
      const source = this.page.i32
      const target = this.copy.keys.i32
      const words = (length + 3) >> 2
      const f = from >> 2
      const t = to >> 2
      for (let i = 0; i < words; i++) target[t + i] = source[f + i]!
    } else {
      this.copy.keys.u8.set(this.page.u8.subarray(from, from + length), to)
    }
    this.keyIsReady = true
  }

  private start(): boolean {
    this.isStarted = true
    if (this.step > 0) this.load(this.low, this.low.length, SEEK_AT, this.low, this.lowExclusive)
    else if (this.high === undefined) this.load(NO_KEY, 0, SEEK_LAST, undefined, 0)
    else
      this.load(
        this.high,
        this.high.length,
        this.highInclusive === 1 ? SEEK_AT : SEEK_BEFORE,
        this.high,
        this.highInclusive,
      )
    return true
  }

  /** Loads the leaf after the current one in the direction of the scan. False at the end of the range. */
  private advanceLeaf(): boolean {
    if (this.isLast) {
      this.slot = this.slotEnd - this.step
      return false
    }
    const fence = this.fence()
    if (this.step > 0) this.load(fence, fence.length, SEEK_AT, fence, 0)
    else this.load(fence, fence.length, SEEK_BEFORE, fence, 0)
    return true
  }

  /** The fence of the copy where the scan leaves it; a copy, as loading overwrites it. */
  private fence(): Buffer {
    const page = this.page
    const lowLength = nodeLowLength(page, 0)
    const highLength = nodeHighLength(page, 0)
    const start = this.pageSize - fenceBytes(lowLength, highLength)
    return this.step > 0
      ? Buffer.from(page.buffer.subarray(start + lowLength, start + lowLength + highLength))
      : Buffer.from(page.buffer.subarray(start, start + lowLength))
  }

  /**
   * Copies the leaf for `key` and finds the slots of the range in it. `from` is where the scan enters the leaf (undefined:
   * at its end); `skipEqual` 1 passes over that key itself going forward, and includes it going backward.
   */
  private load(
    key: Uint8Array,
    keyLength: number,
    seek: number,
    from: Uint8Array | undefined,
    skipEqual: number,
  ): void {
    const { pages, page, pageSize } = this
    for (;;) {
      this.descent.findLeaf(key, keyLength, seek)
      const memory = pages.memory
      const base = pages.base
      const version = pages.version
      memory.buffer.copy(page.buffer, 0, base, base + pageSize)
      if (pages.valid(memory, base, version)) break
    }
    this.count = nodeCount(page, 0)
    this.prefixLength = nodePrefixLength(page, 0)
    this.slots = slotsOffset(this.prefixLength)
    const fences = fenceBytes(nodeLowLength(page, 0), nodeHighLength(page, 0))
    if (this.slots + this.count * SLOT_BYTES + fences > pageSize || this.prefixLength > pageSize >> 3)
      throw this.damaged()
    this.keyShift = -this.prefixLength & 3
    this.copy.keys.u8.set(page.u8.subarray(PAGE_HEADER_BYTES, PAGE_HEADER_BYTES + this.prefixLength), this.keyShift)
    if (this.step > 0) this.boundForward(from, skipEqual)
    else this.boundBackward(from, skipEqual)
  }

  private boundForward(from: Uint8Array | undefined, skipEqual: number): void {
    const first = from === undefined || (from.length === 0 && skipEqual === 0) ? 0 : this.position(from, skipEqual)
    let end = this.count
    this.isLast = nodeHighLength(this.page, 0) === 0
    if (this.high !== undefined) {
      end = this.position(this.high, this.highInclusive)
      // Later leaves matter only if the high fence lies within the range.
      if (end < this.count || !this.fenceIsBelow(this.high)) this.isLast = true
    }
    this.slot = first - 1
    this.slotEnd = end > first ? end : first
  }

  private boundBackward(from: Uint8Array | undefined, skipEqual: number): void {
    const end = from === undefined ? this.count : this.position(from, skipEqual)
    this.isLast = nodeLowLength(this.page, 0) === 0
    let first = 0
    if (this.low.length > 0 || this.lowExclusive === 1) {
      first = this.position(this.low, this.lowExclusive)
      if (first > 0 || !this.fenceIsAbove(this.low)) this.isLast = true
    }
    this.slot = end > first ? end : first
    this.slotEnd = first - 1
  }

  /** True when keys at or above the high fence may still be below the bound. */
  private fenceIsBelow(bound: Uint8Array): boolean {
    const fence = this.fence()
    const order = Buffer.compare(fence, bound)
    return order < 0 || (order === 0 && this.highInclusive === 1)
  }

  /** True when keys below the low fence may still be above the bound. */
  private fenceIsAbove(bound: Uint8Array): boolean {
    return Buffer.compare(this.fence(), bound) > 0
  }

  /** First slot at or above the key; above it if `after` is 1. */
  private position(key: Uint8Array, after: number): number {
    const found = searchNode(this.page, 0, this.pageSize, key, key.length, LEAF_SUFFIX)
    if (found < 0) throw this.damaged()
    return (found >> 1) + (found & after)
  }

  /** The row at `entry` is newer than the snapshot: finds what the snapshot sees. False when it sees nothing. */
  private readOlder(entry: number): boolean {
    const pointer = this.page.f64[(entry + ROW_POINTER) >> 3]!
    if (pointer === 0) return false
    const older = this.older
    const length = this.versions.read(
      pointer,
      this.atSequence,
      older,
      this.descent.tableId,
      this.keyBuffer,
      this.keyLength,
    )
    if (length === -2) throw snapshotTooOld()
    if (length < 0 || (older.flags & ROW_DELETED) !== 0) return false
    this.buffer = older.buffer
    this.valueStart = 0
    this.valueEnd = length
    this.flags = older.flags
    this.sequence = older.sequence
    return true
  }

  private damaged(): Error {
    return corruptNode(this.descent.tableId, this.page.i32[PAGE_ID >> 2]!, 'its entries leave the page')
  }
}
