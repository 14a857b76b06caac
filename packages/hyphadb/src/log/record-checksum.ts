/**
 * The checksum of log records: CRC-32 (zlib polynomial), computed so that the long part never waits for the latch.
 *
 *   body     = crc32(operations)                                    outside the commit latch
 *   checksum = crc32(length, header fields, body, position, salt)   inside it, over some forty bytes
 *
 * The position is not stored: it enters the checksum, as does the salt of the run. So a record is valid at its own
 * position under its own salt and nowhere else: what a recycled segment still holds, and what lay beyond a torn record
 * before a recovery, cannot be mistaken for a record of today.
 *
 * A call of zlib costs 100 to 200 ns on a short range (subarray and the crossing into C++), a table of eight bytes a
 * step 21 ns for 24 bytes and 83 for 120; they meet near 300 bytes.
 */
import { crc32Range } from '../base/checksum.js'

const POLYNOMIAL = 0xedb88320
/** Ranges up to here are cheaper by table. */
const TABLE_BYTES_MAX = 288
const TWO_POW_32 = 0x1_0000_0000

/** tables[256 * k + b]: the effect of byte b followed by k zero bytes (Kounavis and Berry, "slicing by 8"). */
const tables = buildTables()

function buildTables(): Int32Array {
  const result = new Int32Array(256 * 8)
  for (let byte = 0; byte < 256; byte++) {
    let state = byte
    for (let bit = 0; bit < 8; bit++) state = state & 1 ? (state >>> 1) ^ POLYNOMIAL : state >>> 1
    result[byte] = state
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let k = 1; k < 8; k++) {
      const before = result[256 * (k - 1) + byte]!
      result[256 * k + byte] = (before >>> 8) ^ result[before & 255]!
    }
  }
  return result
}

/** Advances a raw CRC state (not inverted at either end) over `bytes[start, end)`. */
function advance(state: number, bytes: Uint8Array, start: number, end: number): number {
  const t = tables
  let c = state
  let i = start
  for (const last = end - 7; i < last; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    c =
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!
  }
  while (i < end) c = (c >>> 8) ^ t[(c ^ bytes[i++]!) & 255]!
  return c
}

/** Advances a raw CRC state over the four bytes of a word, least significant first. */
function advanceWord(state: number, word: number): number {
  const t = tables
  const c = state ^ word
  return t[768 + (c & 255)]! ^ t[512 + ((c >>> 8) & 255)]! ^ t[256 + ((c >>> 16) & 255)]! ^ t[c >>> 24]!
}

/** CRC-32 of `bytes[start, end)` as an unsigned number; by table or by zlib, whichever is quicker. */
export function bodyChecksum(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > TABLE_BYTES_MAX) return crc32Range(bytes, start, end)
  return ~advance(-1, bytes, start, end) >>> 0
}

/**
 * The checksum that a record carries, as an int32. The length field is `bytes[start, checksumAt)`; the header fields are
 * `bytes[checksumAt + 4, fieldsEnd)`.
 */
export function recordChecksum(
  bytes: Uint8Array,
  start: number,
  checksumAt: number,
  fieldsEnd: number,
  body: number,
  position: number,
  saltLow: number,
  saltHigh: number,
): number {
  let c = advance(~saltLow, bytes, start, checksumAt)
  c = advance(c, bytes, checksumAt + 4, fieldsEnd)
  c = advanceWord(c, body | 0)
  const high = Math.floor(position / TWO_POW_32)
  c = advanceWord(c, (position - high * TWO_POW_32) | 0)
  c = advanceWord(c, high | 0)
  c = advanceWord(c, saltHigh)
  return ~c
}
