/**
 * Key codec: values to bytes whose unsigned byte order is the order of the values, and back.
 *
 *   null < false < true < numbers and bigints < strings < dates < bytes < arrays
 *
 * Byte table. An encoded value is a tag and a body; every body ends by itself, so that values can stand in a row (compound
 * keys, index entries) without ambiguity.
 *
 * | tag  | value   | body |
 * |------|---------|------|
 * | 0x00 |         | ends an array; never starts a value |
 * | 0x01 |         | rows about an index, in front of its entries (index-entries.ts); never starts a value |
 * | 0x04 | []      | index entries only: an empty array |
 * | 0x06 | null    | none; in index entries also undefined and absent fields |
 * | 0x10 | false   | none |
 * | 0x11 | true    | none |
 * | 0x18 | NaN     | index entries only |
 * | 0x20 | number  | 8 bytes: the double, big-endian, sign bit flipped, all bits flipped when negative |
 * |      | bigint  | the largest double not above it as for a number, then 0xfe, then the rest (see `writeBigintRest`) |
 * | 0x30 | string  | utf-8 with 0x00 written as 0x00 0xff, then 0x00 |
 * | 0x40 | Date    | 8 bytes: milliseconds as for a number |
 * | 0x50 | bytes   | bytes with 0x00 written as 0x00 0xff, then 0x00 |
 * | 0x60 | array   | its elements, then 0x00 |
 * | 0x70 | other   | index entries only: an object, Map, Set or invalid Date; none |
 *
 * Invariants
 * 1. Tags lie between 0x01 and 0x7f. What follows a value is a tag, 0x00 or the end, so 0xfe and 0xff behind a body say
 *    "it goes on" and sort after everything that may follow.
 * 2. A bigint is distinct from the number of the same value and follows it directly. -0 is the key 0. NaN, undefined,
 *    objects and strings that are not well-formed unicode are refused as keys.
 * 3. Strings order by code point, as utf-8 does, not by UTF-16 unit as `<` does.
 */
import '../base/buffer-methods.js'
import { HyphaError } from '../base/errors.js'
import { isWellFormed } from './unicode.js'

/** What can be a key: the id of a document, or a key of a table. Arrays are compound keys. */
export type Key = null | boolean | number | bigint | string | Date | Uint8Array | readonly Key[]

export const TAG_END = 0x00
export const TAG_META = 0x01
export const TAG_EMPTY_ARRAY = 0x04
export const TAG_NULL = 0x06
export const TAG_FALSE = 0x10
export const TAG_TRUE = 0x11
export const TAG_NAN = 0x18
export const TAG_NUMBER = 0x20
export const TAG_STRING = 0x30
export const TAG_DATE = 0x40
export const TAG_BYTES = 0x50
export const TAG_ARRAY = 0x60
export const TAG_OTHER = 0x70
/** Above every tag: the end of all keys that start with some bytes is those bytes and this one. */
export const TAG_BEYOND = 0x80

const BIGINT_FOLLOWS = 0xfe
const ESCAPED_ZERO = 0xff
const MAX_DEPTH = 32
/** Strings up to this many units are written by a loop, longer ones by one native call (PLATFORM: even at about 24). */
const LOOP_UNITS = 24

const doubleScratch = new Float64Array(1)
const wordScratch = new Int32Array(doubleScratch.buffer)

/** Set by `encodeIndexValue`: decoding the entry would not give back the value exactly. */
let inexact = false
/** Where the value that was decoded last ended. */
let decodedEnd = 0

/**
 * Writes `value` at `offset` and returns where it ends, or -1 when the buffer has no room for it: grow the buffer and
 * call again (nothing before `offset` was touched). `path` names the value in errors.
 *
 * @throws HYPHA_INVALID for what cannot be a key.
 */
export function encodeKey(value: unknown, buffer: Buffer, offset: number, path = 'key'): number {
  return encode(value, buffer, offset, path, false, 0)
}

/**
 * The same for the indexed field of a document, where every value must have an entry: NaN, undefined and objects get one
 * too. `wasInexact()` then tells whether decoding gives back something else.
 */
export function encodeIndexValue(value: unknown, buffer: Buffer, offset: number, path: string): number {
  inexact = false
  return encode(value, buffer, offset, path, true, 0)
}

export function wasInexact(): boolean {
  return inexact
}

function encode(value: unknown, buffer: Buffer, offset: number, path: string, indexed: boolean, depth: number): number {
  switch (typeof value) {
    case 'string':
      return encodeString(value, buffer, offset, path)
    case 'number':
      if (value !== value) {
        if (!indexed) throw refused(path, 'is NaN, which has no place in the order of keys')
        return putTag(TAG_NAN, buffer, offset)
      }
      if (value === 0 && indexed && Object.is(value, -0)) inexact = true
      return putDouble(TAG_NUMBER, value === 0 ? 0 : value, buffer, offset)
    case 'boolean':
      return putTag(value ? TAG_TRUE : TAG_FALSE, buffer, offset)
    case 'bigint':
      return encodeBigint(value, buffer, offset)
    case 'undefined':
      if (!indexed) throw refused(path, 'is undefined')
      inexact = true
      return putTag(TAG_NULL, buffer, offset)
    case 'object':
      return encodeObject(value, buffer, offset, path, indexed, depth)
    default:
      throw refused(path, `is a ${typeof value}`)
  }
}

function encodeObject(
  value: object | null,
  buffer: Buffer,
  offset: number,
  path: string,
  indexed: boolean,
  depth: number,
): number {
  if (value === null) return putTag(TAG_NULL, buffer, offset)
  if (value instanceof Date) {
    const milliseconds = value.getTime()
    if (milliseconds === milliseconds) return putDouble(TAG_DATE, milliseconds, buffer, offset)
    if (!indexed) throw refused(path, 'is an invalid Date')
  } else if (value instanceof Uint8Array) {
    inexact = true // Buffer or Uint8Array: the key does not say
    return encodeBytes(value, buffer, offset)
  } else if (Array.isArray(value)) {
    if (depth >= MAX_DEPTH) throw refused(path, `is nested deeper than ${MAX_DEPTH} arrays`)
    let end = putTag(TAG_ARRAY, buffer, offset)
    for (let i = 0; i < value.length && end >= 0; i++) {
      end = encode(value[i], buffer, end, `${path}[${i}]`, indexed, depth + 1)
    }
    return end < 0 ? -1 : putTag(TAG_END, buffer, end)
  } else if (!indexed) {
    throw refused(
      path,
      'is an object; a key is null, a boolean, number, bigint, string, Date, bytes, or an array of them',
    )
  }
  inexact = true
  return putTag(TAG_OTHER, buffer, offset)
}

function refused(path: string, why: string): HyphaError {
  return new HyphaError('HYPHA_INVALID', `The key at '${path}' ${why}`)
}

function putTag(tag: number, buffer: Buffer, offset: number): number {
  if (offset >= buffer.length) return -1
  buffer[offset] = tag
  return offset + 1
}

function putDouble(tag: number, value: number, buffer: Buffer, offset: number): number {
  if (offset + 9 > buffer.length) return -1
  doubleScratch[0] = value
  let low = wordScratch[0]!
  let high = wordScratch[1]!
  if (high < 0) {
    low = ~low
    high = ~high
  } else {
    high ^= 0x80000000
  }
  buffer[offset] = tag
  buffer[offset + 1] = high >>> 24
  buffer[offset + 2] = high >>> 16
  buffer[offset + 3] = high >>> 8
  buffer[offset + 4] = high
  buffer[offset + 5] = low >>> 24
  buffer[offset + 6] = low >>> 16
  buffer[offset + 7] = low >>> 8
  buffer[offset + 8] = low
  return offset + 9
}

function encodeString(value: string, buffer: Buffer, offset: number, path: string): number {
  const length = value.length
  if (offset + length + 2 > buffer.length) return -1
  if (length > LOOP_UNITS) return encodeLongString(value, buffer, offset, path)
  buffer[offset] = TAG_STRING
  let at = offset + 1
  for (let i = 0; i < length; i++) {
    const unit = value.charCodeAt(i)
    if (unit === 0 || unit > 0x7f) return encodeLongString(value, buffer, offset, path)
    buffer[at++] = unit
  }
  buffer[at] = TAG_END
  return at + 1
}

function encodeLongString(value: string, buffer: Buffer, offset: number, path: string): number {
  const start = offset + 1
  if (start + value.length * 3 + 1 > buffer.length && start + Buffer.byteLength(value) + 1 > buffer.length) return -1
  buffer[offset] = TAG_STRING
  const end = start + buffer.utf8Write(value, start)
  if (end - start !== value.length && !isWellFormed(value)) {
    throw refused(path, 'is a string with half a surrogate pair, which is not unicode')
  }
  return escapeZeros(buffer, start, end)
}

function encodeBytes(value: Uint8Array, buffer: Buffer, offset: number): number {
  const start = offset + 1
  if (start + value.length + 1 > buffer.length) return -1
  buffer[offset] = TAG_BYTES
  buffer.set(value, start)
  return escapeZeros(buffer, start, start + value.length)
}

/** Escapes the zeros in `[start, end)`, moving what follows them, and ends the value. */
function escapeZeros(buffer: Buffer, start: number, end: number): number {
  let zeros = 0
  for (let i = start; i < end; i++) if (buffer[i] === 0) zeros++
  const last = end + zeros
  if (last >= buffer.length) return -1
  buffer[last] = TAG_END
  for (let from = end - 1, to = last - 1; to !== from; from--) {
    const byte = buffer[from]!
    if (byte === 0) buffer[to--] = ESCAPED_ZERO
    buffer[to--] = byte
  }
  return last + 1
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER)
const MAX_DOUBLE = BigInt(Number.MAX_VALUE)

/** The largest double not above `value`; -Infinity below all finite ones. */
function floorToDouble(value: bigint): number {
  const nearest = Number(value)
  if (nearest === Infinity) return Number.MAX_VALUE
  if (nearest === -Infinity || BigInt(nearest) <= value) return nearest
  doubleScratch[0] = nearest
  // One unit in the last place towards minus infinity; the nearest of a bigint is never 0 from above.
  const bits = new BigInt64Array(doubleScratch.buffer)
  bits[0] = nearest > 0 ? bits[0]! - 1n : bits[0]! + 1n
  return doubleScratch[0]
}

function encodeBigint(value: bigint, buffer: Buffer, offset: number): number {
  const floor = floorToDouble(value)
  const end = putDouble(TAG_NUMBER, floor, buffer, offset)
  if (end < 0 || end + 2 > buffer.length) return -1
  buffer[end] = BIGINT_FOLLOWS
  if (floor === -Infinity) return writeBigintRest(-value - MAX_DOUBLE, 0xff, buffer, end + 1)
  if (value >= -SAFE && value <= SAFE) {
    buffer[end + 1] = 0
    return end + 2
  }
  return writeBigintRest(value - BigInt(floor), 0, buffer, end + 1)
}

/**
 * How far a bigint lies from its double: the number of bytes (one byte; from 255 on 0xff and two more), then that many
 * bytes, most significant first. Below all finite doubles it is the distance from the lowest, with all bits flipped.
 */
function writeBigintRest(rest: bigint, flip: number, buffer: Buffer, offset: number): number {
  const digits = rest === 0n ? '' : rest.toString(16)
  const length = (digits.length + 1) >> 1
  if (length > 0xffff || offset + 3 + length > buffer.length) return -1
  let at = offset
  if (length < 0xff) {
    buffer[at++] = length ^ flip
  } else {
    buffer[at++] = 0xff ^ flip
    buffer[at++] = (length >> 8) ^ flip
    buffer[at++] = (length & 0xff) ^ flip
  }
  const padded = digits.length & 1 ? `0${digits}` : digits
  for (let i = 0; i < length; i++) buffer[at++] = Number.parseInt(padded.slice(i * 2, i * 2 + 2), 16) ^ flip
  return at
}

/**
 * Reads the value that starts at `offset`; `keyEnd()` then tells where it ended.
 *
 * @throws HYPHA_CORRUPT when the bytes up to `limit` are no encoded value.
 */
export function decodeKey(buffer: Buffer, offset = 0, limit = buffer.length): Key {
  if (offset >= limit) throw damaged(offset)
  switch (buffer[offset]) {
    case TAG_NULL:
      decodedEnd = offset + 1
      return null
    case TAG_FALSE:
      decodedEnd = offset + 1
      return false
    case TAG_TRUE:
      decodedEnd = offset + 1
      return true
    case TAG_NAN:
      decodedEnd = offset + 1
      return Number.NaN
    case TAG_EMPTY_ARRAY:
      decodedEnd = offset + 1
      return []
    case TAG_NUMBER:
      return decodeNumber(buffer, offset, limit)
    case TAG_DATE:
      return new Date(decodeDouble(buffer, offset + 1, limit))
    case TAG_STRING: {
      const end = findEnd(buffer, offset + 1, limit)
      decodedEnd = end + 1
      if (!lastEscaped) return buffer.utf8Slice(offset + 1, end)
      return unescape(buffer, offset + 1, end).utf8Slice(0, end - offset - 1 - lastEscaped)
    }
    case TAG_BYTES: {
      const end = findEnd(buffer, offset + 1, limit)
      decodedEnd = end + 1
      return unescape(buffer, offset + 1, end)
    }
    case TAG_ARRAY: {
      const elements: Key[] = []
      let at = offset + 1
      while (at < limit && buffer[at] !== TAG_END) {
        elements.push(decodeKey(buffer, at, limit))
        at = decodedEnd
      }
      if (at >= limit) throw damaged(offset)
      decodedEnd = at + 1
      return elements
    }
    default:
      throw damaged(offset)
  }
}

export function keyEnd(): number {
  return decodedEnd
}

function damaged(offset: number): HyphaError {
  return new HyphaError('HYPHA_CORRUPT', `A key is damaged at its byte ${offset}: run 'hypha verify'`)
}

/** Zeros escaped in what `findEnd` passed over last. */
let lastEscaped = 0

function findEnd(buffer: Buffer, start: number, limit: number): number {
  lastEscaped = 0
  let at = start
  for (;;) {
    while (at < limit && buffer[at] !== 0) at++
    if (at >= limit) throw damaged(start)
    if (at + 1 >= limit || buffer[at + 1] !== ESCAPED_ZERO) return at
    lastEscaped++
    at += 2
  }
}

function unescape(buffer: Buffer, start: number, end: number): Buffer {
  const out = Buffer.allocUnsafeSlow(end - start - lastEscaped)
  let to = 0
  for (let from = start; from < end; from++) {
    const byte = buffer[from]!
    out[to++] = byte
    if (byte === 0) from++
  }
  return out
}

function decodeDouble(buffer: Buffer, at: number, limit: number): number {
  if (at + 8 > limit) throw damaged(at)
  let high = (buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!
  let low = (buffer[at + 4]! << 24) | (buffer[at + 5]! << 16) | (buffer[at + 6]! << 8) | buffer[at + 7]!
  if (high < 0) {
    high ^= 0x80000000
  } else {
    high = ~high
    low = ~low
  }
  wordScratch[0] = low
  wordScratch[1] = high
  decodedEnd = at + 8
  return doubleScratch[0]!
}

function decodeNumber(buffer: Buffer, offset: number, limit: number): number | bigint {
  const double = decodeDouble(buffer, offset + 1, limit)
  let at = decodedEnd
  if (at >= limit || buffer[at] !== BIGINT_FOLLOWS) return double
  at++
  const flip = double === -Infinity ? 0xff : 0
  let length = buffer[at++]! ^ flip
  if (length === 0xff) {
    length = ((buffer[at]! ^ flip) << 8) | (buffer[at + 1]! ^ flip)
    at += 2
  }
  if (at + length > limit) throw damaged(offset)
  let rest = 0n
  for (let i = 0; i < length; i++) rest = (rest << 8n) | BigInt(buffer[at + i]! ^ flip)
  decodedEnd = at + length
  return double === -Infinity ? -(rest + MAX_DOUBLE) : BigInt(double) + rest
}

/** Where the value at `offset` ends, without making it. */
export function skipKey(buffer: Buffer, offset: number, limit: number): number {
  switch (buffer[offset]) {
    case TAG_STRING:
    case TAG_BYTES:
      return findEnd(buffer, offset + 1, limit) + 1
    case TAG_DATE:
      return offset + 9
    case TAG_NUMBER:
      if (offset + 9 >= limit || buffer[offset + 9] !== BIGINT_FOLLOWS) return offset + 9
      decodeNumber(buffer, offset, limit)
      return decodedEnd
    case TAG_ARRAY: {
      let at = offset + 1
      while (at < limit && buffer[at] !== TAG_END) at = skipKey(buffer, at, limit)
      return at + 1
    }
    default:
      return offset + 1
  }
}
