/**
 * Questions about ranges that mostly need no row: how many are there, has any of them changed. A leaf whose last change
 * is old enough is answered from its header, in place, and left by its high fence.
 */
import type { PageMemory } from '../memory/page-memory.js'
import { PAGE_ID, PAGE_LAST_CHANGE, type PageReader, type VersionStore } from '../pages/page-access.js'
import type { Descent } from './descent.js'
import {
  entryOf,
  fenceBytes,
  LEAF_SUFFIX,
  maxKeyLength,
  nodeCount,
  nodeGhosts,
  nodeHighLength,
  nodeLowLength,
} from './node-layout.js'
import { SEEK_AT, searchNode } from './node-search.js'
import { type CursorRange, TreeCursor } from './tree-cursor.js'
import { corruptNode } from './tree-errors.js'

const NO_KEY = new Uint8Array(0)
/** Answer about a leaf: some row must be looked at (counting), or is newer (asking for changes). Below it: damage. */
const CHANGED = -1

export class TreeRanges {
  /** The high fence of the leaf read last; length 0 = infinity. */
  private fence: Buffer
  private fenceLength = 0
  /** The other buffer of the two that take turns: the key of a visit must outlive the fence that the visit finds. */
  private spare: Buffer
  private isPastHigh = false

  constructor(
    private readonly pages: PageReader,
    private readonly descent: Descent,
    private readonly versions: VersionStore,
  ) {
    this.fence = Buffer.alloc(maxKeyLength(pages.pageSize))
    this.spare = Buffer.alloc(maxKeyLength(pages.pageSize))
  }

  changedSince(
    low: Uint8Array,
    lowInclusive: boolean,
    high: Uint8Array | undefined,
    highInclusive: boolean,
    sequence: number,
  ): boolean {
    let key = low
    let keyLength = low.length
    let after = lowInclusive ? 0 : 1
    for (;;) {
      const answer = this.visitLeaf(key, keyLength, after, high, highInclusive, sequence, false)
      if (answer === CHANGED) return true
      if (this.isPastHigh) return false
      key = this.takeFence()
      keyLength = this.fenceLength
      after = 0
    }
  }

  count(range: CursorRange, atSequence: number): number {
    const low = range.gt ?? range.gte ?? NO_KEY
    const high = range.lt ?? range.lte
    const highInclusive = range.lt === undefined
    let key = low
    let keyLength = low.length
    let after = range.gt === undefined ? 0 : 1
    let total = 0
    for (;;) {
      const rows = this.visitLeaf(key, keyLength, after, high, highInclusive, atSequence, true)
      if (rows === CHANGED) total += this.countLeaf(key, keyLength, after, high, highInclusive, atSequence)
      else total += rows
      if (this.isPastHigh) return total
      key = this.takeFence()
      keyLength = this.fenceLength
      after = 0
    }
  }

  /** The fence found last, as the key of the next visit. */
  private takeFence(): Buffer {
    const key = this.fence
    this.fence = this.spare
    this.spare = key
    return key
  }

  /** The high fence of the leaf that holds a key, or undefined at the end of the tree. */
  fenceAfter(key: Uint8Array): Buffer | undefined {
    this.visitLeaf(key, key.length, 0, undefined, false, Number.POSITIVE_INFINITY, true)
    return this.isPastHigh ? undefined : Buffer.from(this.fence.subarray(0, this.fenceLength))
  }

  /**
   * Reads the leaf of `key`, from there up to the bound. Returns CHANGED when a row in that part is newer than `sequence`
   * (or, when counting, when rows must be looked at one by one), else the number of slots. Leaves the fence behind.
   */
  private visitLeaf(
    key: Uint8Array,
    keyLength: number,
    after: number,
    high: Uint8Array | undefined,
    highInclusive: boolean,
    sequence: number,
    counting: boolean,
  ): number {
    const { pages } = this
    for (;;) {
      this.descent.findLeaf(key, keyLength, SEEK_AT)
      const memory = pages.memory
      const base = pages.base
      const version = pages.version
      const answer = this.judgeLeaf(memory, base, key, keyLength, after, high, highInclusive, sequence, counting)
      const fenceFits = this.copyFence(memory, base, high, highInclusive)
      if (!pages.valid(memory, base, version)) continue
      if (answer < CHANGED || !fenceFits) {
        throw corruptNode(
          this.descent.tableId,
          memory.i32[(base + PAGE_ID) >> 2]!,
          'its slots or fences leave the page',
        )
      }
      return answer
    }
  }

  private judgeLeaf(
    memory: PageMemory,
    base: number,
    key: Uint8Array,
    keyLength: number,
    after: number,
    high: Uint8Array | undefined,
    highInclusive: boolean,
    sequence: number,
    counting: boolean,
  ): number {
    const unchanged = memory.f64[(base + PAGE_LAST_CHANGE) >> 3]! <= sequence
    if (unchanged && !counting) return 0
    const pageSize = this.pages.pageSize
    let to = nodeCount(memory, base)
    const start = searchNode(memory, base, pageSize, key, keyLength, LEAF_SUFFIX)
    if (start < 0) return CHANGED - 1
    const from = (start >> 1) + (start & after)
    if (high !== undefined) {
      const end = searchNode(memory, base, pageSize, high, high.length, LEAF_SUFFIX)
      if (end < 0) return CHANGED - 1
      to = (end >> 1) + (highInclusive ? end & 1 : 0)
    }
    if (unchanged && nodeGhosts(memory, base) === 0) return to > from ? to - from : 0
    if (counting) return to > from ? CHANGED : 0
    for (let index = from; index < to; index++) {
      const entry = entryOf(memory, base, index)
      if (entry + 8 > base + pageSize) return CHANGED - 1
      if (memory.f64[entry >> 3]! > sequence) return CHANGED
    }
    return 0
  }

  /** Copies the high fence and finds whether the range ends before it. False when the fence cannot be one. */
  private copyFence(memory: PageMemory, base: number, high: Uint8Array | undefined, highInclusive: boolean): boolean {
    const lowLength = nodeLowLength(memory, base)
    const length = nodeHighLength(memory, base)
    if (length > this.fence.length || lowLength > this.fence.length) return false
    const start = base + this.pages.pageSize - fenceBytes(lowLength, length) + lowLength
    memory.buffer.copy(this.fence, 0, start, start + length)
    this.fenceLength = length
    this.isPastHigh = length === 0
    if (length > 0 && high !== undefined) {
      const order = this.fence.compare(high, 0, high.length, 0, length)
      this.isPastHigh = order > 0 || (order === 0 && !highInclusive)
    }
    return true
  }

  /** Counts the visible rows between a key and the end of its leaf, or the bound when that comes first. */
  private countLeaf(
    key: Uint8Array,
    keyLength: number,
    after: number,
    high: Uint8Array | undefined,
    highInclusive: boolean,
    atSequence: number,
  ): number {
    const low = key.subarray(0, keyLength)
    const range: CursorRange = after === 1 ? { gt: low } : { gte: low }
    if (!this.isPastHigh) range.lt = this.fence.subarray(0, this.fenceLength)
    else if (high !== undefined && highInclusive) range.lte = high
    else if (high !== undefined) range.lt = high
    const cursor = new TreeCursor(this.pages, this.descent, this.versions, range, atSequence)
    try {
      let rows = 0
      while (cursor.next()) rows++
      return rows
    } finally {
      cursor.close()
    }
  }
}
