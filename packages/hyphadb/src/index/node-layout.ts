/**
 * The bytes of a tree node: what stands where in a leaf or inner page, and the few reads that everybody needs.
 *
 * ## Page
 * | byte | type | what |
 * |---|---|---|
 * | 0..31 | | the pool's page header; the tree writes kind and level (8, 9) and the last change (16) |
 * | 32 | u16 | count: slots in use |
 * | 34 | u16 | ghosts: rows that are deleted and still there (leaf) |
 * | 36 | i32 | heap top: page offset of the lowest byte in use by an entry or a fence |
 * | 40 | i32 | garbage: bytes above the heap top that belong to no entry |
 * | 44 | u16 | prefix length |
 * | 46 | u16 | length of the low fence |
 * | 48 | u16 | length of the high fence |
 * | 50 | u16 | run: rows inserted one behind the other, ending at the last insert (leaf; a hint, not undone) |
 * | 52 | i32 | leftmost child (inner) |
 * | 56 | i32 | slot of the last insert (leaf; a hint, not undone) |
 * | 60 | i32 | 0 |
 * | 64 | | prefix, padded to a multiple of 8 |
 * | then | 8 bytes each | slots in key order |
 * | … | | free |
 * | heap top | | entries, each aligned to 8, in no order |
 * | end | | low fence, high fence, together padded to a multiple of 8 |
 *
 * ## Slot
 * | byte | type | what |
 * |---|---|---|
 * | 0 | i32 | head: the first four bytes of the suffix, big-endian, zero padded, top bit flipped |
 * | 4 | u16 | page offset of the entry, divided by 8 |
 * | 6 | u16 | length of the suffix (the key without the page's prefix) |
 *
 * ## Entry
 * | leaf | type | what | inner | type | what |
 * |---|---|---|---|---|---|
 * | 0 | f64 | commit sequence that wrote the row | 0 | i32 | child page |
 * | 8 | f64 | pointer to the version before, 0 = none | 4 | | suffix of the separator |
 * | 16 | u16 | length of the suffix | | | |
 * | 18 | u16 | flags | | | |
 * | 20 | u32 | length of the value | | | |
 * | 24 | | suffix, padded to a multiple of 4, then the value | | | |
 *
 * ## Invariants
 * 1. Keys ascend strictly by unsigned bytes. Every key of the page begins with the prefix and lies in
 *    [low fence, high fence). An empty low fence is the smallest key; an empty high fence stands for infinity.
 * 2. The child of separator i holds keys from separator i up to the next separator (or the high fence); the leftmost
 *    child holds those below separator 0. A child's fences equal the separators around it.
 * 3. heap top + all entries + fences + garbage = page size; slots end at or below the heap top.
 * 4. A signed comparison of two heads never contradicts the comparison of the keys; equal heads decide nothing.
 * 5. The prefix changes only when the whole page is written again, so the slots never move for it otherwise.
 *
 * The prefix stands beside the header and not with the fences at the page's end: a lookup then touches the header, a few
 * slots and one entry, and no other cache line.
 */
import type { PageMemory } from '../memory/page-memory.js'
import { KIND_INNER, KIND_LEAF, PAGE_HEADER_BYTES, PAGE_KIND } from '../pages/page-access.js'

export const NODE_COUNT = 32
export const NODE_GHOSTS = 34
export const NODE_HEAP_TOP = 36
export const NODE_GARBAGE = 40
export const NODE_PREFIX_LENGTH = 44
export const NODE_LOW_LENGTH = 46
export const NODE_HIGH_LENGTH = 48
export const NODE_RUN = 50
export const NODE_LEFTMOST = 52
export const NODE_LAST_INSERT = 56
/** Count, ghosts, heap top and garbage: what an edit of one row changes in the header. */
export const NODE_EDIT_START = NODE_COUNT
export const NODE_EDIT_BYTES = 12

export const SLOT_BYTES = 8
/** Where the suffix stands in an entry; also tells the two kinds of nodes apart in code that serves both. */
export const LEAF_SUFFIX = 24
export const INNER_SUFFIX = 4
export const ROW_POINTER = 8
export const ROW_SUFFIX_LENGTH = 16
export const ROW_FLAGS = 18
export const ROW_VALUE_LENGTH = 20

/** The row is deleted; it stays until no reader needs to know when. */
export const ROW_DELETED = 1
/** The value is a reference to overflow pages; the tree only keeps it. */
export const ROW_OVERFLOW = 2
/** The value begins with the time at which the row expires. */
export const ROW_EXPIRES = 4
/** Bytes of the reference that stands for a value in overflow pages. */
export const OVERFLOW_REFERENCE_BYTES = 24

/** Kind and level of a leaf, as the u16 at PAGE_KIND. */
export const LEAF_SHAPE = KIND_LEAF
/** Deeper than any tree of 2^31 pages whose inner nodes hold at least four separators each. */
export const MAX_DEPTH = 32

/** The u16 at PAGE_KIND of a node at this level. */
export function shapeOfLevel(level: number): number {
  return level === 0 ? LEAF_SHAPE : KIND_INNER | (level << 8)
}

export function nodeShape(memory: PageMemory, base: number): number {
  return memory.u16[(base + PAGE_KIND) >> 1]!
}

export function nodeCount(memory: PageMemory, base: number): number {
  return memory.u16[(base + NODE_COUNT) >> 1]!
}

export function nodeGhosts(memory: PageMemory, base: number): number {
  return memory.u16[(base + NODE_GHOSTS) >> 1]!
}

export function nodeHeapTop(memory: PageMemory, base: number): number {
  return memory.i32[(base + NODE_HEAP_TOP) >> 2]!
}

export function nodeGarbage(memory: PageMemory, base: number): number {
  return memory.i32[(base + NODE_GARBAGE) >> 2]!
}

export function nodePrefixLength(memory: PageMemory, base: number): number {
  return memory.u16[(base + NODE_PREFIX_LENGTH) >> 1]!
}

export function nodeLowLength(memory: PageMemory, base: number): number {
  return memory.u16[(base + NODE_LOW_LENGTH) >> 1]!
}

export function nodeHighLength(memory: PageMemory, base: number): number {
  return memory.u16[(base + NODE_HIGH_LENGTH) >> 1]!
}

export function align4(bytes: number): number {
  return (bytes + 3) & ~3
}

export function align8(bytes: number): number {
  return (bytes + 7) & ~7
}

/** Offset of the first slot within the page. */
export function slotsOffset(prefixLength: number): number {
  return PAGE_HEADER_BYTES + align8(prefixLength)
}

/** Bytes that both fences take at the end of the page. */
export function fenceBytes(lowLength: number, highLength: number): number {
  return align8(lowLength + highLength)
}

/** Bytes between the slots and the heap. Negative in a page that is torn or damaged. */
export function nodeFree(memory: PageMemory, base: number): number {
  return nodeHeapTop(memory, base) - slotsOffset(nodePrefixLength(memory, base)) - nodeCount(memory, base) * SLOT_BYTES
}

/** Bytes in use by entries, slots, prefix and fences, header included. */
export function nodeUsed(memory: PageMemory, base: number, pageSize: number): number {
  return pageSize - nodeFree(memory, base) - nodeGarbage(memory, base)
}

/** Absolute offset of the entry of slot `index`. */
export function entryOf(memory: PageMemory, base: number, index: number): number {
  const slot = base + slotsOffset(nodePrefixLength(memory, base)) + index * SLOT_BYTES
  return base + memory.u16[(slot + 4) >> 1]! * 8
}

/** Length of the suffix of slot `index`. */
export function suffixLengthOf(memory: PageMemory, base: number, index: number): number {
  const slot = base + slotsOffset(nodePrefixLength(memory, base)) + index * SLOT_BYTES
  return memory.u16[(slot + 6) >> 1]!
}

export function leafEntryBytes(suffixLength: number, valueLength: number): number {
  return (LEAF_SUFFIX + ((suffixLength + 3) & ~3) + valueLength + 7) & ~7
}

export function innerEntryBytes(suffixLength: number): number {
  return (INNER_SUFFIX + suffixLength + 7) & ~7
}

/** Bytes that the entry at `entry` (absolute) takes. */
export function entryBytes(memory: PageMemory, entry: number, suffixLength: number, suffixAt: number): number {
  return suffixAt === LEAF_SUFFIX
    ? leafEntryBytes(suffixLength, memory.i32[(entry + ROW_VALUE_LENGTH) >> 2]!)
    : innerEntryBytes(suffixLength)
}

/** Where the value begins in the leaf entry at `entry`. */
export function valueOf(entry: number, suffixLength: number): number {
  return entry + LEAF_SUFFIX + ((suffixLength + 3) & ~3)
}

/** Child at a position: 0 is the leftmost, i + 1 the one of separator i. */
export function childAt(memory: PageMemory, base: number, position: number): number {
  return position === 0
    ? memory.i32[(base + NODE_LEFTMOST) >> 2]!
    : memory.i32[entryOf(memory, base, position - 1) >> 2]!
}

/** The head of `bytes[start, end)`: comparable as a signed int32. */
export function headOf(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start
  if (length >= 4) {
    return (
      ((bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!) ^ 0x80000000
    )
  }
  let head = 0
  if (length > 0) head = bytes[start]! << 24
  if (length > 1) head |= bytes[start + 1]! << 16
  if (length > 2) head |= bytes[start + 2]! << 8
  return head ^ 0x80000000
}

/** Longest key in a tree with pages of this size. */
export function maxKeyLength(pageSize: number): number {
  return pageSize >>> 3
}

/** True when the row may stand in a leaf; otherwise its value belongs into overflow pages. */
export function fitsInLeaf(pageSize: number, keyLength: number, valueLength: number): boolean {
  return leafEntryBytes(keyLength, valueLength) <= pageSize >>> 2
}

/** The node's low fence, copied. */
export function lowFence(memory: PageMemory, base: number, pageSize: number): Buffer {
  const low = nodeLowLength(memory, base)
  const start = base + pageSize - fenceBytes(low, nodeHighLength(memory, base))
  return Buffer.from(memory.buffer.subarray(start, start + low))
}

/** The node's high fence, copied; empty = infinity. */
export function highFence(memory: PageMemory, base: number, pageSize: number): Buffer {
  const low = nodeLowLength(memory, base)
  const high = nodeHighLength(memory, base)
  const start = base + pageSize - fenceBytes(low, high) + low
  return Buffer.from(memory.buffer.subarray(start, start + high))
}
