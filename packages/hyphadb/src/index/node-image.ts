/**
 * Writing whole nodes: what a rebuild, split or merge does once it knows which entries go where. The source is always a
 * private copy of the old page, so that the target may be the same page.
 *
 * Everything here runs under the commit latch on pages that nobody else changes; what does not add up is damage.
 */
import type { PageMemory } from '../memory/page-memory.js'
import { PAGE_HEADER_BYTES } from '../pages/page-access.js'
import {
  align4,
  entryOf,
  fenceBytes,
  headOf,
  INNER_SUFFIX,
  innerEntryBytes,
  LEAF_SUFFIX,
  leafEntryBytes,
  NODE_COUNT,
  NODE_GARBAGE,
  NODE_GHOSTS,
  NODE_HEAP_TOP,
  NODE_HIGH_LENGTH,
  NODE_LEFTMOST,
  NODE_LOW_LENGTH,
  NODE_PREFIX_LENGTH,
  NODE_RUN,
  nodePrefixLength,
  ROW_DELETED,
  ROW_FLAGS,
  ROW_SUFFIX_LENGTH,
  ROW_VALUE_LENGTH,
  SLOT_BYTES,
  slotsOffset,
  suffixLengthOf,
} from './node-layout.js'

/** Keeps every ghost: no commit sequence lies below it. */
export const KEEP_GHOSTS = -1

/** Length of the longest common prefix of two ranges. */
export function commonLength(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const limit = aLength < bLength ? aLength : bLength
  let length = 0
  while (length < limit && a[aStart + length] === b[bStart + length]) length++
  return length
}

/** The whole key of a slot, as a copy. */
export function copyKey(memory: PageMemory, base: number, index: number, suffixAt: number): Buffer {
  const prefixLength = nodePrefixLength(memory, base)
  const suffixLength = suffixLengthOf(memory, base, index)
  const start = entryOf(memory, base, index) + suffixAt
  const key = Buffer.allocUnsafe(prefixLength + suffixLength)
  key.set(memory.u8.subarray(base + PAGE_HEADER_BYTES, base + PAGE_HEADER_BYTES + prefixLength))
  key.set(memory.u8.subarray(start, start + suffixLength), prefixLength)
  return key
}

/** Common prefix, in whole key bytes, of the keys of two slots of one node; of all between them too, as keys ascend. */
export function commonOfSlots(memory: PageMemory, base: number, a: number, b: number, suffixAt: number): number {
  const aLength = suffixLengthOf(memory, base, a)
  const bLength = suffixLengthOf(memory, base, b)
  const aStart = entryOf(memory, base, a) + suffixAt
  const bStart = entryOf(memory, base, b) + suffixAt
  return nodePrefixLength(memory, base) + commonLength(memory.u8, aStart, aLength, memory.u8, bStart, bLength)
}

/** Common prefix of a slot's key and a key outside of the page. */
export function commonWithKey(
  memory: PageMemory,
  base: number,
  index: number,
  suffixAt: number,
  key: Uint8Array,
  keyLength: number,
): number {
  const prefixLength = nodePrefixLength(memory, base)
  const shared = commonLength(memory.u8, base + PAGE_HEADER_BYTES, prefixLength, key, 0, keyLength)
  if (shared < prefixLength) return shared
  const start = entryOf(memory, base, index) + suffixAt
  const suffixLength = suffixLengthOf(memory, base, index)
  return prefixLength + commonLength(memory.u8, start, suffixLength, key, prefixLength, keyLength - prefixLength)
}

/** True when the row at `entry` is a ghost that nobody needs any more. */
export function isPurgeable(memory: PageMemory, entry: number, floor: number): boolean {
  return (memory.u16[(entry + ROW_FLAGS) >> 1]! & ROW_DELETED) !== 0 && memory.f64[entry >> 3]! <= floor
}

/** Bytes that slots [from, to) and their entries take in a node with another prefix length, less the ghosts purged. */
export function bytesOfRange(
  memory: PageMemory,
  base: number,
  from: number,
  to: number,
  prefixLength: number,
  suffixAt: number,
  floor: number,
): number {
  const growth = nodePrefixLength(memory, base) - prefixLength
  let slot = (base + slotsOffset(nodePrefixLength(memory, base)) + from * SLOT_BYTES + 4) >> 1
  let bytes = 0
  for (let index = from; index < to; index++, slot += 4) {
    const suffixLength = memory.u16[slot + 1]! + growth
    if (suffixAt === INNER_SUFFIX) {
      bytes += SLOT_BYTES + innerEntryBytes(suffixLength)
      continue
    }
    const entry = base + memory.u16[slot]! * 8
    if (floor >= 0 && isPurgeable(memory, entry, floor)) continue
    bytes += SLOT_BYTES + leafEntryBytes(suffixLength, memory.i32[(entry + ROW_VALUE_LENGTH) >> 2]!)
  }
  return bytes
}

/** Bytes of a node besides its slots and entries. */
export function frameBytes(prefixLength: number, lowLength: number, highLength: number): number {
  return slotsOffset(prefixLength) + fenceBytes(lowLength, highLength)
}

/** Makes an empty node of the page: header, prefix, fences. The page header's part is left alone. */
export function startNode(
  memory: PageMemory,
  base: number,
  pageSize: number,
  prefix: Uint8Array,
  low: Uint8Array,
  high: Uint8Array,
  leftmost: number,
): void {
  const fences = fenceBytes(low.length, high.length)
  const { u16, i32, u8 } = memory
  u16[(base + NODE_COUNT) >> 1] = 0
  u16[(base + NODE_GHOSTS) >> 1] = 0
  i32[(base + NODE_HEAP_TOP) >> 2] = pageSize - fences
  i32[(base + NODE_GARBAGE) >> 2] = 0
  u16[(base + NODE_PREFIX_LENGTH) >> 1] = prefix.length
  u16[(base + NODE_LOW_LENGTH) >> 1] = low.length
  u16[(base + NODE_HIGH_LENGTH) >> 1] = high.length
  u16[(base + NODE_RUN) >> 1] = 0
  i32[(base + NODE_LEFTMOST) >> 2] = leftmost
  i32[(base + NODE_LEFTMOST + 4) >> 2] = 0
  i32[(base + NODE_LEFTMOST + 8) >> 2] = 0
  u8.set(prefix, base + PAGE_HEADER_BYTES)
  u8.set(low, base + pageSize - fences)
  u8.set(high, base + pageSize - fences + low.length)
}

/**
 * Appends slots [from, to) of the source to a node begun with `startNode`; their keys must follow those already there
 * and have its prefix. Ghosts at or below `floor` stay behind.
 */
export function appendRange(
  memory: PageMemory,
  base: number,
  source: PageMemory,
  sourceBase: number,
  from: number,
  to: number,
  suffixAt: number,
  floor: number,
): void {
  const prefixLength = nodePrefixLength(memory, base)
  const difference = nodePrefixLength(source, sourceBase) - prefixLength
  for (let index = from; index < to; index++) {
    const entry = entryOf(source, sourceBase, index)
    if (suffixAt === LEAF_SUFFIX && floor >= 0 && isPurgeable(source, entry, floor)) continue
    const suffixLength = suffixLengthOf(source, sourceBase, index)
    const target = claimEntry(memory, base, entry, source, suffixLength, suffixLength + difference, suffixAt)
    writeSuffix(memory, target, source, sourceBase, entry, suffixLength, difference, prefixLength, suffixAt)
    appendSlot(memory, base, target, suffixLength + difference, suffixAt)
  }
}

/** Takes heap space for a copy of the source entry and copies all of it but the suffix. */
function claimEntry(
  memory: PageMemory,
  base: number,
  entry: number,
  source: PageMemory,
  sourceLength: number,
  suffixLength: number,
  suffixAt: number,
): number {
  const heapTop = (base + NODE_HEAP_TOP) >> 2
  if (suffixAt === INNER_SUFFIX) {
    const target = base + (memory.i32[heapTop] = memory.i32[heapTop]! - innerEntryBytes(suffixLength))
    memory.i32[target >> 2] = source.i32[entry >> 2]!
    return target
  }
  const valueLength = source.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
  const target = base + (memory.i32[heapTop] = memory.i32[heapTop]! - leafEntryBytes(suffixLength, valueLength))
  memory.f64[target >> 3] = source.f64[entry >> 3]!
  memory.f64[(target >> 3) + 1] = source.f64[(entry >> 3) + 1]!
  memory.u16[(target + ROW_SUFFIX_LENGTH) >> 1] = suffixLength
  memory.u16[(target + ROW_FLAGS) >> 1] = source.u16[(entry + ROW_FLAGS) >> 1]!
  memory.i32[(target + ROW_VALUE_LENGTH) >> 2] = valueLength
  copyAligned(
    source,
    entry + LEAF_SUFFIX + align4(sourceLength),
    memory,
    target + LEAF_SUFFIX + align4(suffixLength),
    valueLength,
  )
  return target
}

/** Writes the suffix of an entry whose prefix is shorter or longer by `difference` than in the source. */
function writeSuffix(
  memory: PageMemory,
  target: number,
  source: PageMemory,
  sourceBase: number,
  entry: number,
  sourceLength: number,
  difference: number,
  prefixLength: number,
  suffixAt: number,
): void {
  if (difference <= 0) {
    if (difference === 0) copyAligned(source, entry + suffixAt, memory, target + suffixAt, sourceLength)
    else copyPlain(source, entry + suffixAt - difference, memory, target + suffixAt, sourceLength + difference)
    return
  }
  copyPlain(source, sourceBase + PAGE_HEADER_BYTES + prefixLength, memory, target + suffixAt, difference)
  copyPlain(source, entry + suffixAt, memory, target + suffixAt + difference, sourceLength)
}

/** Adds the slot of an entry that is in place, as the last one. */
export function appendSlot(
  memory: PageMemory,
  base: number,
  entry: number,
  suffixLength: number,
  suffixAt: number,
): void {
  const count = memory.u16[(base + NODE_COUNT) >> 1]!
  writeSlot(
    memory,
    base + slotsOffset(nodePrefixLength(memory, base)) + count * SLOT_BYTES,
    base,
    entry,
    suffixLength,
    suffixAt,
  )
  memory.u16[(base + NODE_COUNT) >> 1] = count + 1
  if (suffixAt === LEAF_SUFFIX && (memory.u16[(entry + ROW_FLAGS) >> 1]! & ROW_DELETED) !== 0) {
    memory.u16[(base + NODE_GHOSTS) >> 1] = memory.u16[(base + NODE_GHOSTS) >> 1]! + 1
  }
}

/** Writes the slot at `slot` (absolute) for the entry at `entry`. */
export function writeSlot(
  memory: PageMemory,
  slot: number,
  base: number,
  entry: number,
  suffixLength: number,
  suffixAt: number,
): void {
  const start = entry + suffixAt
  memory.i32[slot >> 2] = headOf(memory.u8, start, start + suffixLength)
  memory.i32[(slot >> 2) + 1] = ((entry - base) >> 3) | (suffixLength << 16)
}

/** Adds an inner entry that is not in the source: a separator pulled down by a merge. */
export function appendSeparator(memory: PageMemory, base: number, separator: Uint8Array, child: number): void {
  const prefixLength = nodePrefixLength(memory, base)
  const suffixLength = separator.length - prefixLength
  const heapTop = (base + NODE_HEAP_TOP) >> 2
  const entry = base + (memory.i32[heapTop] = memory.i32[heapTop]! - innerEntryBytes(suffixLength))
  memory.i32[entry >> 2] = child
  for (let i = 0; i < suffixLength; i++) memory.u8[entry + INNER_SUFFIX + i] = separator[prefixLength + i]!
  appendSlot(memory, base, entry, suffixLength, INNER_SUFFIX)
}

/** Copies between places aligned to 4. Reads up to 3 bytes past the end only when both sides are padded to it. */
export function copyAligned(source: PageMemory, from: number, target: PageMemory, to: number, length: number): void {
  if (length > 128) {
    target.u8.set(source.u8.subarray(from, from + length), to)
    return
  }
  const words = (length + 3) >> 2
  const a = source.i32
  const b = target.i32
  const f = from >> 2
  const t = to >> 2
  for (let i = 0; i < words; i++) b[t + i] = a[f + i]!
}

function copyPlain(source: PageMemory, from: number, target: PageMemory, to: number, length: number): void {
  if (length > 32) {
    target.u8.set(source.u8.subarray(from, from + length), to)
    return
  }
  for (let i = 0; i < length; i++) target.u8[to + i] = source.u8[from + i]!
}
