/**
 * Comparing and copying bytes at the price that V8 asks. Calls into the runtime (set, compare, subarray) cost 15 to 75 ns
 * whatever the length, loops 1 to 1.5 ns a byte (0.15 by int32): the thresholds below are where the lines cross.
 */

/** Two views of the same bytes; what shared memory and page memory offer. */
export interface ByteMemory {
  readonly u8: Uint8Array
  readonly i32: Int32Array
}

/** Up to here a loop compares all; beyond, it looks at the first bytes, which mostly decide, and leaves the rest to the runtime. */
const COMPARE_LOOP_BYTES = 48
const COMPARE_FIRST_BYTES = 8
const COPY_BYTE_LOOP_BYTES = 24
const MOVE_LOOP_BYTES = 12
const COPY_WORD_LOOP_BYTES = 128

/** Takes any Uint8Array as `this`; its declaration says Buffer. */
const compareOfBuffer = Buffer.prototype.compare as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  targetEnd: number,
  sourceStart: number,
  sourceEnd: number,
) => number

/** Order of two byte strings as unsigned bytes, a shorter one before what it is a prefix of: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length)
}

/** `compareBytes` of `a[aStart, aEnd)` and `b[bStart, bEnd)`. */
export function compareRanges(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart
  const bLength = bEnd - bStart
  const shorter = aLength < bLength ? aLength : bLength
  const looped = shorter <= COMPARE_LOOP_BYTES ? shorter : COMPARE_FIRST_BYTES
  for (let i = 0; i < looped; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!
    if (difference !== 0) return difference
  }
  if (shorter > looped) {
    // With ranges, so that no subarray is made.
    const order = compareOfBuffer.call(a, b, bStart + looped, bStart + shorter, aStart + looped, aStart + shorter)
    if (order !== 0) return order
  }
  return aLength - bLength
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareRanges(a, 0, a.length, b, 0, b.length) === 0
}

/** Length of the longest common prefix of two byte strings. */
export function commonPrefixLength(a: Uint8Array, b: Uint8Array): number {
  return commonPrefixOfRanges(a, 0, a.length, b, 0, b.length)
}

/** `commonPrefixLength` of `a[aStart, aEnd)` and `b[bStart, bEnd)`. */
export function commonPrefixOfRanges(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const limit = Math.min(aEnd - aStart, bEnd - bStart)
  let length = 0
  while (length < limit && a[aStart + length] === b[bStart + length]) length++
  return length
}

/**
 * Copies `length` bytes between two memories, or within one when the ranges do not overlap.
 * Word by word where both ends are equally aligned and the stretch is short, else by the runtime.
 */
export function copyBetween(source: ByteMemory, from: number, target: ByteMemory, to: number, length: number): void {
  if (((from | to) & 3) === 0 && length <= COPY_WORD_LOOP_BYTES) {
    const words = length >> 2
    const fromWord = from >> 2
    const toWord = to >> 2
    const sourceWords = source.i32
    const targetWords = target.i32
    for (let i = 0; i < words; i++) targetWords[toWord + i] = sourceWords[fromWord + i]!
    for (let i = words << 2; i < length; i++) target.u8[to + i] = source.u8[from + i]!
    return
  }
  copyBytes(source.u8, from, target.u8, to, length)
}

/** Copies `length` bytes between two arrays, or within one when the ranges do not overlap. */
export function copyBytes(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length <= COPY_BYTE_LOOP_BYTES) {
    for (let i = 0; i < length; i++) target[to + i] = source[from + i]!
    return
  }
  target.set(from === 0 && length === source.length ? source : source.subarray(from, from + length), to)
}

/** Moves `length` bytes within one memory; the ranges may overlap. */
export function moveWithin(memory: Uint8Array, from: number, to: number, length: number): void {
  if (length <= MOVE_LOOP_BYTES) {
    if (to < from) for (let i = 0; i < length; i++) memory[to + i] = memory[from + i]!
    else for (let i = length - 1; i >= 0; i--) memory[to + i] = memory[from + i]!
    return
  }
  memory.copyWithin(to, from, from + length)
}

/** The bytes in hexadecimal, cut off with an ellipsis: for messages. */
export function hex(bytes: Uint8Array, maxBytes = 32): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, maxBytes)).toString('hex')
  return bytes.length > maxBytes ? `${text}…` : text
}
