/**
 * Variable-length unsigned integers (LEB128): 7 bits a byte, least significant first, the high bit says "more follows".
 *
 * Invariants
 * 1. A value from 0 to 2^53 - 1 takes 1 to 8 bytes, and exactly one form: a last byte of zero is refused (except for 0
 *    itself), so equal numbers are equal bytes.
 * 2. Reading believes nothing: it stays below `end` and answers -1 for what no writer would have written.
 *
 * Nothing is allocated: writing returns the offset after the number, reading leaves it in `varintEnd`.
 */

export const MAX_VARINT_BYTES = 8

/** Offset after the number that `readVarint` returned last. Belongs to the call just made; unchanged by a failed one. */
export let varintEnd = 0

const TWO_POW_7 = 0x80
const TWO_POW_28 = 0x10000000

/** Number of bytes that `writeVarint` will use. */
export function varintLength(value: number): number {
  let length = 1
  let rest = value
  while (rest >= TWO_POW_28) {
    rest = Math.floor(rest / TWO_POW_28)
    length += 4
  }
  let low = rest | 0
  while (low >= TWO_POW_7) {
    low >>>= 7
    length++
  }
  return length
}

/** Writes `value` (a safe, non-negative integer) at `offset` and returns the offset after it. */
export function writeVarint(bytes: Uint8Array, offset: number, value: number): number {
  let position = offset
  let rest = value
  // Above 28 bits shifts would lose bits: split off four groups at a time by division.
  while (rest >= TWO_POW_28) {
    const quotient = Math.floor(rest / TWO_POW_28)
    const low = rest - quotient * TWO_POW_28
    bytes[position++] = (low & 0x7f) | 0x80
    bytes[position++] = ((low >>> 7) & 0x7f) | 0x80
    bytes[position++] = ((low >>> 14) & 0x7f) | 0x80
    bytes[position++] = (low >>> 21) | 0x80
    rest = quotient
  }
  let low = rest | 0
  while (low >= TWO_POW_7) {
    bytes[position++] = (low & 0x7f) | 0x80
    low >>>= 7
  }
  bytes[position++] = low
  return position
}

/**
 * Reads the number at `offset`, looking at no byte at or beyond `end`; `varintEnd` is then the offset after it.
 * Returns -1 when the bytes are not a number: cut off, too long, or not in shortest form.
 */
export function readVarint(bytes: Uint8Array, offset: number, end: number): number {
  if (offset >= end) return -1
  let byte = bytes[offset]!
  let position = offset + 1
  if (byte < 0x80) {
    varintEnd = position
    return byte
  }
  let value = byte & 0x7f
  let factor = TWO_POW_7
  while (position < end && position - offset < MAX_VARINT_BYTES) {
    byte = bytes[position++]!
    if (byte < 0x80) {
      if (byte === 0) return -1
      value += byte * factor
      if (value > Number.MAX_SAFE_INTEGER) return -1
      varintEnd = position
      return value
    }
    value += (byte & 0x7f) * factor
    factor *= TWO_POW_7
  }
  return -1
}
