/**
 * Finding a key in a node. The bytes may be torn or damaged: every offset is checked against the page before it is used,
 * loops are bounded by a count that fits the page, and nonsense gives IMPLAUSIBLE. The caller then asks whether the page
 * has changed meanwhile (start again) or not (damage).
 *
 * The search runs over the heads alone: one int32 comparison a step, no entry touched. Only slots with an equal head are
 * compared in full.
 */
import type { PageMemory } from '../memory/page-memory.js'
import { PAGE_HEADER_BYTES } from '../pages/page-access.js'
import {
  headOf,
  INNER_SUFFIX,
  NODE_COUNT,
  NODE_LEFTMOST,
  NODE_PREFIX_LENGTH,
  nodePrefixLength,
  slotsOffset,
} from './node-layout.js'

/** The page's bytes cannot be a node. */
export const IMPLAUSIBLE = -1
const COMPARE_LOOP_BYTES = 32
/** Up to here the slots are so few cache lines that halving finds the place as fast. */
const INTERPOLATION_SLOTS = 16
/** Result of a comparison that left the page. Larger than any real one. */
const OUTSIDE = 0x40000000

/**
 * First slot whose key is not below the search key, doubled, plus 1 when its key is equal; or IMPLAUSIBLE.
 * `suffixAt` is LEAF_SUFFIX or INNER_SUFFIX.
 */
export function searchNode(
  memory: PageMemory,
  base: number,
  pageSize: number,
  key: Uint8Array,
  keyLength: number,
  suffixAt: number,
): number {
  const i32 = memory.i32
  const count = memory.u16[(base + NODE_COUNT) >> 1]!
  const prefixLength = memory.u16[(base + NODE_PREFIX_LENGTH) >> 1]!
  const slots = base + PAGE_HEADER_BYTES + ((prefixLength + 7) & ~7)
  if (slots + count * 8 > base + pageSize) return IMPLAUSIBLE
  if (prefixLength > 0) {
    const order = comparePrefix(memory, base, prefixLength, key, keyLength)
    if (order < 0) return count << 1
    if (order > 0) return 0
  }
  const head = headOf(key, prefixLength, keyLength)
  const first = slots >> 2
  let low = 0
  let high = count
  if (count > INTERPOLATION_SLOTS) {
    const lowest = i32[first]!
    const highest = i32[first + count * 2 - 2]!
    if (head <= lowest) high = 1
    else if (head > highest) low = count
    else {
      // Between the lowest and the highest: guess, then widen in doubling steps until the guess is bracketed.
      let guess = (((head - lowest) / (highest - lowest)) * (count - 1)) | 0
      let step = 2
      if (i32[first + guess * 2]! < head) {
        do {
          low = guess + 1
          guess += step
          step <<= 1
        } while (guess < count && i32[first + guess * 2]! < head)
        if (guess < count) high = guess
      } else {
        do {
          high = guess
          guess -= step
          step <<= 1
        } while (guess >= 0 && i32[first + guess * 2]! >= head)
        if (guess >= 0) low = guess + 1
      }
    }
  }
  while (low < high) {
    const middle = (low + high) >>> 1
    if (i32[first + middle * 2]! < head) low = middle + 1
    else high = middle
  }
  if (low === count || i32[first + low * 2] !== head) return low << 1
  return searchTies(memory, base, pageSize, first, low, count, head, key, prefixLength, keyLength, suffixAt)
}

/** Among the slots from `low` on whose head equals the key's, the first that is not below the key. */
function searchTies(
  memory: PageMemory,
  base: number,
  pageSize: number,
  first: number,
  low: number,
  count: number,
  head: number,
  key: Uint8Array,
  prefixLength: number,
  keyLength: number,
  suffixAt: number,
): number {
  const i32 = memory.i32
  let order = compareSlot(memory, base, pageSize, i32[first + low * 2 + 1]!, key, prefixLength, keyLength, suffixAt)
  if (order >= 0) return order === 0 ? (low << 1) | 1 : order === OUTSIDE ? IMPLAUSIBLE : low << 1
  low++
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (i32[first + middle * 2]! > head) {
      high = middle
      continue
    }
    order = compareSlot(memory, base, pageSize, i32[first + middle * 2 + 1]!, key, prefixLength, keyLength, suffixAt)
    if (order === 0) return (middle << 1) | 1
    if (order === OUTSIDE) return IMPLAUSIBLE
    if (order < 0) low = middle + 1
    else high = middle
  }
  return low << 1
}

/** The page's prefix against the beginning of the key: zero when the key has it. */
function comparePrefix(
  memory: PageMemory,
  base: number,
  prefixLength: number,
  key: Uint8Array,
  keyLength: number,
): number {
  const u8 = memory.u8
  const start = base + PAGE_HEADER_BYTES
  const shorter = prefixLength < keyLength ? prefixLength : keyLength
  const looped = shorter < COMPARE_LOOP_BYTES ? shorter : COMPARE_LOOP_BYTES
  for (let i = 0; i < looped; i++) {
    const difference = u8[start + i]! - key[i]!
    if (difference !== 0) return difference
  }
  if (shorter > looped) {
    const order = memory.buffer.compare(key, looped, shorter, start + looped, start + shorter)
    if (order !== 0) return order
  }
  return prefixLength > keyLength ? 1 : 0
}

/** The key of a slot against the search key, when their heads are equal. `word` is the slot's second int32. */
function compareSlot(
  memory: PageMemory,
  base: number,
  pageSize: number,
  word: number,
  key: Uint8Array,
  prefixLength: number,
  keyLength: number,
  suffixAt: number,
): number {
  const offset = (word & 0xffff) << 3
  const suffixLength = word >>> 16
  if (offset + suffixAt + suffixLength > pageSize) return OUTSIDE
  const searched = keyLength - prefixLength
  const shorter = suffixLength < searched ? suffixLength : searched
  if (shorter > 4) {
    const u8 = memory.u8
    const start = base + offset + suffixAt
    const looped = shorter < COMPARE_LOOP_BYTES ? shorter : COMPARE_LOOP_BYTES
    for (let i = 4; i < looped; i++) {
      const difference = u8[start + i]! - key[prefixLength + i]!
      if (difference !== 0) return difference
    }
    if (shorter > looped) {
      const order = memory.buffer.compare(
        key,
        prefixLength + looped,
        prefixLength + shorter,
        start + looped,
        start + shorter,
      )
      if (order !== 0) return order
    }
  }
  return suffixLength - searched
}

/** How a descent chooses: the leaf that covers the key, the one with the keys just below it, or the last of all. */
export const SEEK_AT = 0
export const SEEK_BEFORE = 1
export const SEEK_LAST = 2

/** Position of the child to descend to (see childAt), or IMPLAUSIBLE. */
export function searchChild(
  memory: PageMemory,
  base: number,
  pageSize: number,
  key: Uint8Array,
  keyLength: number,
  seek: number,
): number {
  if (seek === SEEK_LAST) return memory.u16[(base + NODE_COUNT) >> 1]!
  const found = searchNode(memory, base, pageSize, key, keyLength, INNER_SUFFIX)
  if (found < 0) return IMPLAUSIBLE
  return seek === SEEK_AT ? (found >> 1) + (found & 1) : found >> 1
}

/** Page id of the child at a position of an inner node whose bytes may be torn; 0 when there is nothing sensible. */
export function childOf(memory: PageMemory, base: number, pageSize: number, position: number): number {
  if (position === 0) return memory.i32[(base + NODE_LEFTMOST) >> 2]!
  const slot = slotsOffset(nodePrefixLength(memory, base)) + (position - 1) * 8
  if (slot + 8 > pageSize) return 0
  const offset = memory.u16[(base + slot + 4) >> 1]! << 3
  if (offset + 4 > pageSize) return 0
  return memory.i32[(base + offset) >> 2]!
}

/** True when the key begins with the page's prefix. */
export function sharesPrefix(memory: PageMemory, base: number, key: Uint8Array, keyLength: number): boolean {
  const prefixLength = nodePrefixLength(memory, base)
  return prefixLength === 0 || comparePrefix(memory, base, prefixLength, key, keyLength) === 0
}
