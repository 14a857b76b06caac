/**
 * A table: a B+tree over pages. Lookups and changes of single rows are here, where time is counted; the tree's shape,
 * ranges and checks have files of their own.
 *
 * ## Reading
 * Everything read from a page is a guess until the page validates. A guess may be nonsense, but it stays inside the page,
 * and what is returned has been validated after the last byte was copied.
 *
 * ## Changing (commit latch held)
 * 1. A row's change is one mini-transaction of one page. When the page has no room, others change the tree's shape first.
 * 2. A row that already carries the change's sequence, or a newer one, is left alone: rolling a commit forward, and
 *    replaying the log, may apply a change twice.
 * 3. Undo covers what a reader of the old page can reach: header words, slots that move, entry bytes that are written
 *    over. Free space is written without.
 * 4. A ghost that nobody needs (sequence at or below the floor) starts a new chain of versions.
 */
import { assert } from '../base/assert.js'
import { copyBytes } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import type { PageMemory } from '../memory/page-memory.js'
import {
  KIND_LEAF,
  type MiniTransaction,
  PAGE_LAST_CHANGE,
  type PageId,
  type PageReader,
  ROLE_DONOR,
  ROLE_RECEIVER,
  type VersionOut,
  type VersionStore,
} from '../pages/page-access.js'
import { Descent } from './descent.js'
import { startNode, writeSlot } from './node-image.js'
import {
  entryOf,
  fitsInLeaf,
  LEAF_SHAPE,
  LEAF_SUFFIX,
  leafEntryBytes,
  maxKeyLength,
  NODE_COUNT,
  NODE_EDIT_BYTES,
  NODE_EDIT_START,
  NODE_GARBAGE,
  NODE_GHOSTS,
  NODE_HEAP_TOP,
  NODE_LAST_INSERT,
  NODE_RUN,
  nodeCount,
  nodeFree,
  nodeGarbage,
  nodePrefixLength,
  ROW_DELETED,
  ROW_FLAGS,
  ROW_POINTER,
  ROW_SUFFIX_LENGTH,
  ROW_VALUE_LENGTH,
  SLOT_BYTES,
  slotsOffset,
  suffixLengthOf,
  valueOf,
} from './node-layout.js'
import { SEEK_AT, searchNode, sharesPrefix } from './node-search.js'
import { type Fault, TreeCheck, type TreeCheckResult } from './tree-check.js'
import { type CursorRange, TreeCursor } from './tree-cursor.js'
import { corruptNode, snapshotTooOld } from './tree-errors.js'
import { TreeRanges } from './tree-ranges.js'
import { TreeRemoval } from './tree-removal.js'
import { type GhostListener, TreeShaper } from './tree-shape.js'
import { copyValue } from './value-copy.js'

/** A row's change makes room at most this often: each step splits or rewrites a node on its path. */
const ROOM_ATTEMPTS = 256
const NO_ROOM = -1
const SHORT_VALUE_BYTES = 512
const NOTHING = Buffer.alloc(0)

export class BTree implements VersionOut {
  /** Registers filled by `lookup`: the value is `buffer[valueStart, valueEnd)`, private memory until the next call. */
  buffer: Buffer
  valueStart = 0
  valueEnd = 0
  flags = 0
  sequence = 0
  private readonly short = Buffer.allocUnsafeSlow(SHORT_VALUE_BYTES)
  private readonly shortWords = new Int32Array(this.short.buffer)
  private long: Buffer = Buffer.allocUnsafeSlow(1024)

  readonly descent: Descent
  readonly shaper: TreeShaper
  private readonly ranges: TreeRanges
  private readonly removal: TreeRemoval

  constructor(
    readonly pages: PageReader,
    readonly mtr: MiniTransaction,
    readonly versions: VersionStore,
    readonly tableId: number,
    readonly rootPageId: PageId,
  ) {
    this.buffer = this.short
    this.descent = new Descent(pages, tableId, rootPageId)
    this.shaper = new TreeShaper(mtr, versions, this.descent)
    this.ranges = new TreeRanges(pages, this.descent, versions)
    this.removal = new TreeRemoval(mtr, this.descent, this.shaper)
  }

  /** Makes an empty tree inside a mini-transaction that the caller has begun, and returns its root for ever. */
  static create(mtr: MiniTransaction, tableId: number): PageId {
    const root = mtr.allocate(KIND_LEAF, 0, tableId, ROLE_RECEIVER)
    startNode(mtr.memory[root]!, mtr.base[root]!, mtr.pageSize, NOTHING, NOTHING, NOTHING, 0)
    return mtr.pageId[root]!
  }

  /** Told about leaves with ghosts; see GhostListener. */
  set onGhost(listener: GhostListener | undefined) {
    this.shaper.onGhost = listener
  }

  /**
   * Finds the row visible at a sequence, into this tree's registers. False when there is none. Throws
   * HYPHA_SNAPSHOT_TOO_OLD when the version has been given up: read again at a newer sequence.
   */
  lookup(key: Uint8Array, keyLength: number, atSequence: number): boolean {
    const { pages, descent } = this
    const pageSize = pages.pageSize
    for (;;) {
      descent.findLeaf(key, keyLength, SEEK_AT)
      const memory = pages.memory
      const base = pages.base
      const version = pages.version
      const found = searchNode(memory, base, pageSize, key, keyLength, LEAF_SUFFIX)
      if (found < 0 || (found & 1) === 0) {
        if (!pages.valid(memory, base, version)) continue
        if (found < 0) throw this.damaged()
        return false
      }
      const entry = entryOf(memory, base, found >> 1)
      const length = this.valueLengthAt(memory, base, entry)
      if (length < 0) {
        if (!pages.valid(memory, base, version)) continue
        throw this.damaged()
      }
      const sequence = memory.f64[entry >> 3]!
      if (sequence > atSequence) {
        const older = this.lookupOlder(memory, base, version, entry, key, keyLength, atSequence)
        if (older < 0) continue
        return older === 1
      }
      const flags = memory.u16[(entry + ROW_FLAGS) >> 1]!
      if ((flags & ROW_DELETED) === 0) {
        const start = valueOf(entry, memory.u16[(entry + ROW_SUFFIX_LENGTH) >> 1]!)
        if (start + length > base + pageSize) continue // torn: it lay within the page a moment ago
        this.copyToRegisters(memory, start, length)
      }
      if (!pages.valid(memory, base, version)) continue
      if ((flags & ROW_DELETED) !== 0) return false
      this.valueStart = 0
      this.valueEnd = length
      this.flags = flags
      this.sequence = sequence
      return true
    }
  }

  /** Short values word by word: Buffer.copy makes a view for each call, which costs more than such a value. */
  private copyToRegisters(memory: PageMemory, start: number, length: number): void {
    if (length > SHORT_VALUE_BYTES) {
      if (this.long.length < length) this.long = Buffer.allocUnsafeSlow(this.pages.pageSize)
      memory.buffer.copy(this.long, 0, start, start + length)
      this.buffer = this.long
      return
    }
    const source = memory.i32
    const target = this.shortWords
    const from = start >> 2
    const words = (length + 3) >> 2
    for (let i = 0; i < words; i++) target[i] = source[from + i]!
    this.buffer = this.short
  }

  /** As `lookup`, but the value in a Buffer of its own, copied once; `flags` and `sequence` are filled too. */
  get(key: Uint8Array, keyLength: number, atSequence: number): Buffer | undefined {
    const { pages, descent } = this
    const pageSize = pages.pageSize
    for (;;) {
      descent.findLeaf(key, keyLength, SEEK_AT)
      const memory = pages.memory
      const base = pages.base
      const version = pages.version
      const found = searchNode(memory, base, pageSize, key, keyLength, LEAF_SUFFIX)
      if (found < 0 || (found & 1) === 0) {
        if (!pages.valid(memory, base, version)) continue
        if (found < 0) throw this.damaged()
        return undefined
      }
      const entry = entryOf(memory, base, found >> 1)
      const length = this.valueLengthAt(memory, base, entry)
      if (length < 0) {
        if (!pages.valid(memory, base, version)) continue
        throw this.damaged()
      }
      const sequence = memory.f64[entry >> 3]!
      if (sequence > atSequence) {
        const older = this.lookupOlder(memory, base, version, entry, key, keyLength, atSequence)
        if (older < 0) continue
        return older === 1 ? Buffer.from(this.buffer.subarray(0, this.valueEnd)) : undefined
      }
      const flags = memory.u16[(entry + ROW_FLAGS) >> 1]!
      if ((flags & ROW_DELETED) !== 0) {
        if (!pages.valid(memory, base, version)) continue
        return undefined
      }
      const start = valueOf(entry, memory.u16[(entry + ROW_SUFFIX_LENGTH) >> 1]!)
      if (start + length > base + pageSize) continue // torn, as in lookup
      const result = copyValue(memory, start, length)
      if (!pages.valid(memory, base, version)) continue
      this.flags = flags
      this.sequence = sequence
      return result
    }
  }

  /** Length of the value of the entry at `entry`, or -1 when the entry does not lie within the page. */
  private valueLengthAt(memory: PageMemory, base: number, entry: number): number {
    const end = base + this.pages.pageSize
    if (entry + LEAF_SUFFIX > end) return -1
    const length = memory.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
    if (length < 0 || valueOf(entry, memory.u16[(entry + ROW_SUFFIX_LENGTH) >> 1]!) + length > end) return -1
    return length
  }

  /** Follows the row at `entry` to an older version: 1 found (registers filled), 0 absent, -1 read the page again. */
  private lookupOlder(
    memory: PageMemory,
    base: number,
    version: number,
    entry: number,
    key: Uint8Array,
    keyLength: number,
    atSequence: number,
  ): number {
    const pointer = memory.f64[(entry + ROW_POINTER) >> 3]!
    if (!this.pages.valid(memory, base, version)) return -1
    if (pointer === 0) return 0
    const length = this.versions.read(pointer, atSequence, this, this.tableId, key, keyLength)
    if (length === -2) {
      if (!this.pages.valid(memory, base, version)) return -1
      throw snapshotTooOld()
    }
    if (length < 0 || (this.flags & ROW_DELETED) !== 0) return 0
    this.valueStart = 0
    this.valueEnd = length
    return 1
  }

  /** Sequence of the newest change of a row, a deletion included; 0 when there is no trace of the key. */
  sequenceOf(key: Uint8Array, keyLength: number): number {
    const { pages, descent } = this
    for (;;) {
      descent.findLeaf(key, keyLength, SEEK_AT)
      const memory = pages.memory
      const base = pages.base
      const version = pages.version
      const found = searchNode(memory, base, pages.pageSize, key, keyLength, LEAF_SUFFIX)
      let sequence = 0
      if (found >= 0 && (found & 1) === 1) {
        const entry = entryOf(memory, base, found >> 1)
        if (entry + 8 <= base + pages.pageSize) sequence = memory.f64[entry >> 3]!
      }
      if (!pages.valid(memory, base, version)) continue
      if (found < 0) throw this.damaged()
      return sequence
    }
  }

  private damaged(): HyphaError {
    return corruptNode(this.tableId, this.pages.memory.i32[(this.pages.base + 4) >> 2]!, 'its entries leave the page')
  }

  /**
   * Inserts or replaces a row. False when it already carries this sequence or a newer one.
   * The value must fit (fitsInLeaf); larger ones are given as a reference with ROW_OVERFLOW in `flags`.
   */
  put(
    key: Uint8Array,
    keyLength: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    flags: number,
    sequence: number,
  ): boolean {
    const { mtr, descent } = this
    const valueLength = valueEnd - valueStart
    this.checkSizes(keyLength, valueLength)
    for (let attempt = 0; attempt < ROOM_ATTEMPTS; attempt++) {
      const leafId = descent.pathTo(key, keyLength)
      mtr.begin()
      const leaf = mtr.fix(leafId, ROLE_DONOR)
      const memory = mtr.memory[leaf]!
      const base = mtr.base[leaf]!
      descent.expectNode(memory, base, leafId, LEAF_SHAPE)
      const found = searchNode(memory, base, mtr.pageSize, key, keyLength, LEAF_SUFFIX)
      if (found < 0 || nodeFree(memory, base) < 0) throw corruptNode(this.tableId, leafId, 'its slots leave the page')
      const outcome =
        (found & 1) === 1
          ? this.replaceRow(
              leaf,
              memory,
              base,
              found >> 1,
              key,
              keyLength,
              value,
              valueStart,
              valueLength,
              flags,
              sequence,
            )
          : this.insertRow(
              leaf,
              memory,
              base,
              found >> 1,
              key,
              keyLength,
              value,
              valueStart,
              valueLength,
              flags,
              sequence,
            )
      mtr.end()
      if (outcome !== NO_ROOM) return outcome === 1
      this.shaper.makeRoom(key, keyLength, valueLength)
    }
    assert(false, 'making room for a row comes to an end')
  }

  private checkSizes(keyLength: number, valueLength: number): void {
    const pageSize = this.mtr.pageSize
    if (keyLength > maxKeyLength(pageSize)) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `A key of ${keyLength} bytes is too long: with pages of ${pageSize} bytes keep keys within ${maxKeyLength(pageSize)}`,
      )
    }
    if (!fitsInLeaf(pageSize, keyLength, valueLength)) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `A value of ${valueLength} bytes does not fit beside its key in a page of ${pageSize}: store it in overflow pages`,
      )
    }
  }

  private insertRow(
    leaf: number,
    memory: PageMemory,
    base: number,
    index: number,
    key: Uint8Array,
    keyLength: number,
    value: Uint8Array,
    valueStart: number,
    valueLength: number,
    flags: number,
    sequence: number,
  ): number {
    const { mtr } = this
    const prefixLength = nodePrefixLength(memory, base)
    const suffixLength = keyLength - prefixLength
    if (!sharesPrefix(memory, base, key, keyLength)) return NO_ROOM
    const bytes = leafEntryBytes(suffixLength, valueLength)
    if (nodeFree(memory, base) < bytes + SLOT_BYTES) return NO_ROOM
    const count = nodeCount(memory, base)
    const slots = slotsOffset(prefixLength)
    this.saveHeader(leaf, memory, base, sequence)
    if (index < count) mtr.saveRange(leaf, slots + index * SLOT_BYTES, (count - index) * SLOT_BYTES)

    const heapTop = memory.i32[(base + NODE_HEAP_TOP) >> 2]! - bytes
    const entry = base + heapTop
    writeRow(memory, entry, sequence, 0, suffixLength, flags, valueLength)
    const suffix = entry + LEAF_SUFFIX
    for (let i = 0; i < suffixLength; i++) memory.u8[suffix + i] = key[prefixLength + i]!
    copyBytes(value, valueStart, memory.u8, valueOf(entry, suffixLength), valueLength)

    const slot = base + slots + index * SLOT_BYTES
    if (index < count) memory.u8.copyWithin(slot + SLOT_BYTES, slot, base + slots + count * SLOT_BYTES)
    writeSlot(memory, slot, base, entry, suffixLength, LEAF_SUFFIX)
    memory.i32[(base + NODE_HEAP_TOP) >> 2] = heapTop
    memory.u16[(base + NODE_COUNT) >> 1] = count + 1
    noteInsert(memory, base, index)
    raiseLastChange(memory, base, sequence)
    return 1
  }

  private replaceRow(
    leaf: number,
    memory: PageMemory,
    base: number,
    index: number,
    key: Uint8Array,
    keyLength: number,
    value: Uint8Array,
    valueStart: number,
    valueLength: number,
    flags: number,
    sequence: number,
  ): number {
    const { mtr } = this
    const old = entryOf(memory, base, index)
    const oldSequence = memory.f64[old >> 3]!
    if (oldSequence >= sequence) return 0
    const suffixLength = suffixLengthOf(memory, base, index)
    const oldLength = memory.i32[(old + ROW_VALUE_LENGTH) >> 2]!
    const oldBytes = leafEntryBytes(suffixLength, oldLength)
    const bytes = leafEntryBytes(suffixLength, valueLength)
    const inPlace = bytes <= oldBytes
    if (!inPlace && nodeFree(memory, base) < bytes) return NO_ROOM
    const wasGhost = (memory.u16[(old + ROW_FLAGS) >> 1]! & ROW_DELETED) !== 0
    const pointer = this.keepVersion(memory, old, key, keyLength, suffixLength, sequence)
    this.saveHeader(leaf, memory, base, sequence)

    let entry = old
    if (inPlace) {
      mtr.saveRange(leaf, old - base, valueOf(0, suffixLength) + valueLength)
    } else {
      const slot = slotsOffset(nodePrefixLength(memory, base)) + index * SLOT_BYTES
      mtr.saveRange(leaf, slot, SLOT_BYTES)
      const heapTop = memory.i32[(base + NODE_HEAP_TOP) >> 2]! - bytes
      entry = base + heapTop
      memory.i32[(base + NODE_HEAP_TOP) >> 2] = heapTop
      memory.u16[(base + slot + 4) >> 1] = heapTop >> 3
      memory.u8.copyWithin(entry + LEAF_SUFFIX, old + LEAF_SUFFIX, old + LEAF_SUFFIX + suffixLength)
    }
    writeRow(memory, entry, sequence, pointer, suffixLength, flags, valueLength)
    copyBytes(value, valueStart, memory.u8, valueOf(entry, suffixLength), valueLength)
    const garbage = (base + NODE_GARBAGE) >> 2
    memory.i32[garbage] = memory.i32[garbage]! + (inPlace ? oldBytes - bytes : oldBytes)
    if (wasGhost) memory.u16[(base + NODE_GHOSTS) >> 1] = memory.u16[(base + NODE_GHOSTS) >> 1]! - 1
    raiseLastChange(memory, base, sequence)
    return 1
  }

  /** Hands the row to the version store before it is changed; the pointer for its successor. */
  private keepVersion(
    memory: PageMemory,
    entry: number,
    key: Uint8Array,
    keyLength: number,
    suffixLength: number,
    sequence: number,
  ): number {
    const { versions } = this
    const oldSequence = memory.f64[entry >> 3]!
    const oldFlags = memory.u16[(entry + ROW_FLAGS) >> 1]!
    if ((oldFlags & ROW_DELETED) !== 0 && oldSequence <= versions.floor) return 0
    const previous = memory.f64[(entry + ROW_POINTER) >> 3]!
    const start = valueOf(entry, suffixLength)
    const length = memory.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
    return versions.push(this.tableId, key, keyLength, oldSequence, previous, sequence, oldFlags, memory, start, length)
  }

  private saveHeader(leaf: number, memory: PageMemory, base: number, sequence: number): void {
    // One range from the last change to the node's words, unused bytes in between included: cheaper than two.
    if (memory.f64[(base + PAGE_LAST_CHANGE) >> 3]! < sequence) {
      this.mtr.saveRange(leaf, PAGE_LAST_CHANGE, NODE_EDIT_START + NODE_EDIT_BYTES - PAGE_LAST_CHANGE)
    } else this.mtr.saveRange(leaf, NODE_EDIT_START, NODE_EDIT_BYTES)
  }

  /** Deletes a row, leaving a ghost. False when there is nothing to delete, or the row carries a newer change. */
  delete(key: Uint8Array, keyLength: number, sequence: number): boolean {
    const { mtr, descent, shaper } = this
    if (keyLength > maxKeyLength(mtr.pageSize)) return false
    const leafId = descent.pathTo(key, keyLength)
    mtr.begin()
    const leaf = mtr.fix(leafId, ROLE_DONOR)
    const memory = mtr.memory[leaf]!
    const base = mtr.base[leaf]!
    descent.expectNode(memory, base, leafId, LEAF_SHAPE)
    const found = searchNode(memory, base, mtr.pageSize, key, keyLength, LEAF_SUFFIX)
    if (found < 0 || nodeFree(memory, base) < 0) throw corruptNode(this.tableId, leafId, 'its slots leave the page')
    const index = found >> 1
    const entry = (found & 1) === 1 ? entryOf(memory, base, index) : 0
    const isLive = entry !== 0 && (memory.u16[(entry + ROW_FLAGS) >> 1]! & ROW_DELETED) === 0
    if (!isLive || memory.f64[entry >> 3]! >= sequence) {
      mtr.end()
      return false
    }
    this.buryRow(leaf, memory, base, index, key, keyLength, sequence)
    const live = mtr.pageSize - nodeFree(memory, base) - nodeGarbage(memory, base)
    shaper.onGhost?.(this.tableId, leafId, key.subarray(0, keyLength))
    mtr.end()
    if (live < mtr.pageSize >> 2 && descent.depth > 0) shaper.shrink(key, keyLength)
    return true
  }

  private buryRow(
    leaf: number,
    memory: PageMemory,
    base: number,
    index: number,
    key: Uint8Array,
    keyLength: number,
    sequence: number,
  ): void {
    const entry = entryOf(memory, base, index)
    const suffixLength = suffixLengthOf(memory, base, index)
    const length = memory.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
    const pointer = this.keepVersion(memory, entry, key, keyLength, suffixLength, sequence)
    this.saveHeader(leaf, memory, base, sequence)
    this.mtr.saveRange(leaf, entry - base, LEAF_SUFFIX)
    writeRow(memory, entry, sequence, pointer, suffixLength, ROW_DELETED, 0)
    const garbage = (base + NODE_GARBAGE) >> 2
    memory.i32[garbage] = memory.i32[garbage]! + leafEntryBytes(suffixLength, length) - leafEntryBytes(suffixLength, 0)
    memory.u16[(base + NODE_GHOSTS) >> 1] = memory.u16[(base + NODE_GHOSTS) >> 1]! + 1
    raiseLastChange(memory, base, sequence)
  }

  /**
   * Removes the ghosts that no reader needs from the leaf of a key, and merges what has become too empty.
   * Returns how many ghosts the leaf still held: more than 0 means come again when the floor has risen.
   */
  purge(key: Uint8Array, keyLength: number): number {
    const remaining = this.shaper.purgeLeaf(key, keyLength)
    this.shaper.shrink(key, keyLength)
    return remaining
  }

  /** Opens a scan of the rows visible at a sequence. Close it, so that its memory serves the next one. */
  cursor(range: CursorRange, atSequence: number): TreeCursor {
    return new TreeCursor(this.pages, this.descent, this.versions, range, atSequence)
  }

  /** Number of rows of a range that are visible at a sequence; leaves without newer changes or ghosts are not looked into. */
  count(range: CursorRange, atSequence: number): number {
    return this.ranges.count(range, atSequence)
  }

  /**
   * Whether any row of the range, deleted ones included, has been changed after a sequence. `high` undefined = no bound.
   * Right as long as the caller's snapshot keeps the floor from passing that sequence: ghosts beyond it stay.
   */
  changedSince(
    low: Uint8Array,
    lowInclusive: boolean,
    high: Uint8Array | undefined,
    highInclusive: boolean,
    sequence: number,
  ): boolean {
    return this.ranges.changedSince(low, lowInclusive, high, highInclusive, sequence)
  }

  /**
   * Purges leaf after leaf from `key` on, at most `leafLimit` of them. Returns the key to go on from, or undefined when
   * the end of the tree has been reached. Finds ghosts that nobody remembers, as after a restart.
   */
  sweep(key: Uint8Array, leafLimit: number): Buffer | undefined {
    let next: Buffer | undefined = Buffer.from(key)
    for (let leaves = 0; leaves < leafLimit && next !== undefined; leaves++) {
      const at: Buffer = next
      this.purge(at, at.length)
      next = this.ranges.fenceAfter(at)
    }
    return next
  }

  /**
   * Frees the pages of a table that nobody uses any more, about `pageLimit` at a time; true when all are gone, the root
   * too. `onOverflow` gets each reference to overflow pages, which are the caller's to free.
   */
  freeAll(pageLimit: number, onOverflow: (reference: Buffer) => void): boolean {
    return this.removal.freeSome(pageLimit, onOverflow)
  }

  /**
   * Walks the whole tree and reports every fault; nothing may change it meanwhile. `onOverflow` gets each reference.
   * `isBeingFreed`: the table is dropped and `freeAll` has begun, so the last nodes may end before infinity.
   */
  check(
    report: (fault: Fault) => void,
    onOverflow?: (reference: Buffer, pageId: number) => void,
    isBeingFreed = false,
  ): TreeCheckResult {
    return new TreeCheck(this.pages, this.tableId, this.rootPageId, report, onOverflow, isBeingFreed).run()
  }
}

function writeRow(
  memory: PageMemory,
  entry: number,
  sequence: number,
  pointer: number,
  suffixLength: number,
  flags: number,
  valueLength: number,
): void {
  memory.f64[entry >> 3] = sequence
  memory.f64[(entry + ROW_POINTER) >> 3] = pointer
  memory.i32[(entry + ROW_SUFFIX_LENGTH) >> 2] = suffixLength | (flags << 16)
  memory.i32[(entry + ROW_VALUE_LENGTH) >> 2] = valueLength
}

function raiseLastChange(memory: PageMemory, base: number, sequence: number): void {
  const at = (base + PAGE_LAST_CHANGE) >> 3
  if (memory.f64[at]! < sequence) memory.f64[at] = sequence
}

/** Remembers whether inserts follow one another, so that a split can tell a run from chance. */
function noteInsert(memory: PageMemory, base: number, index: number): void {
  const run = (base + NODE_RUN) >> 1
  const last = (base + NODE_LAST_INSERT) >> 2
  memory.u16[run] = memory.i32[last] === index - 1 ? Math.min(memory.u16[run]! + 1, 255) : 0
  memory.i32[last] = index
}
