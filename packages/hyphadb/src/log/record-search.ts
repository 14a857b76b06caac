/**
 * Looks for a sound record behind a bad one, at any byte: lengths in damaged bytes cannot be believed, so nothing is
 * skipped on their word. Fast because the marker is found by memchr, and what surrounds a marker by chance (or in what a
 * recycled file still holds) nearly always contradicts the sequence, the durable position or the length before any
 * checksum is computed: 16 MiB of old records take about 20 ms, zeros 2.
 */
import { readVarint, varintEnd } from '../base/varint.js'
import {
  CHECKSUM_BYTES,
  decodeRecord,
  isTypeByte,
  LENGTH_FIELD_BYTES_MAX,
  type Lsn,
  MAX_RECORD_BYTES,
  MIN_RECORD_BYTES,
  mayBeRecord,
  RECORD_MARKER,
  type RecordHeader,
} from './record.js'
import type { SegmentSource } from './segment-source.js'
import type { RunExtent } from './segments.js'

const CHUNK_BYTES = 1 << 20
/** What is looked at around a marker without reading on: length and checksum before, type and two numbers behind. */
const BEFORE_MARKER = LENGTH_FIELD_BYTES_MAX + CHECKSUM_BYTES
const BEHIND_MARKER = 2 + 8 + 8

export interface Search {
  /** Records start beyond this position. */
  readonly after: Lsn
  readonly run: RunExtent
  /** Nothing at or beyond this position is looked at. */
  readonly limit: Lsn
  /** The record must know of a durable position beyond this; -1: any record will do. */
  readonly durableBeyond: Lsn
  /** The record's sequence is at least this: what was logged later has no lower one. */
  readonly sequenceFrom: number
}

/** Position of the first record that answers the search, or -1; `out` then describes it (its body is not kept). */
export function findRecord(source: SegmentSource, search: Search, out: RecordHeader): Lsn {
  const end = Math.min(search.run.end, search.limit)
  const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  let chunkStart = search.after + 1
  while (chunkStart < end) {
    const length = source.read(chunkStart, chunk, 0, Math.min(CHUNK_BYTES, end - chunkStart))
    if (length === 0) return -1
    const last = chunkStart + length >= end
    const found = searchChunk(source, search, chunk, length, chunkStart, end, last, out)
    if (found >= 0) return found
    if (last) return -1
    chunkStart += length - BEFORE_MARKER - BEHIND_MARKER
  }
  return -1
}

function searchChunk(
  source: SegmentSource,
  search: Search,
  chunk: Buffer,
  length: number,
  chunkStart: Lsn,
  end: Lsn,
  last: boolean,
  out: RecordHeader,
): Lsn {
  const bytes = chunk.subarray(0, length)
  const stop = last ? length : length - BEHIND_MARKER
  for (
    let marker = bytes.indexOf(RECORD_MARKER);
    marker >= 0 && marker < stop;
    marker = bytes.indexOf(RECORD_MARKER, marker + 1)
  ) {
    for (let fieldBytes = 1; fieldBytes <= LENGTH_FIELD_BYTES_MAX; fieldBytes++) {
      const start = marker - CHECKSUM_BYTES - fieldBytes
      if (start < 0) break
      const total = plausibleTotal(bytes, start, fieldBytes, marker, length, chunkStart + start, end, search)
      if (total < 0) continue
      if (isRecord(source, search.run, chunkStart + start, bytes, start, total, out)) return chunkStart + start
    }
  }
  return -1
}

/** The record's length if what surrounds the marker at `marker` could be a record at `start` that answers, else -1. */
function plausibleTotal(
  bytes: Uint8Array,
  start: number,
  fieldBytes: number,
  marker: number,
  length: number,
  position: Lsn,
  end: Lsn,
  search: Search,
): number {
  const after = readVarint(bytes, start, start + fieldBytes)
  if (after < MIN_RECORD_BYTES - 1 || varintEnd !== start + fieldBytes) return -1
  const total = fieldBytes + after
  if (total > MAX_RECORD_BYTES || position + total > end) return -1
  if (!isTypeByte(bytes[marker + 1]!)) return -1
  const sequence = readVarint(bytes, marker + 2, length)
  if (sequence < search.sequenceFrom) return -1
  const distance = readVarint(bytes, varintEnd, length)
  if (distance < 0 || position - distance <= search.durableBeyond) return -1
  return total
}

function isRecord(
  source: SegmentSource,
  run: RunExtent,
  position: Lsn,
  bytes: Uint8Array,
  start: number,
  total: number,
  out: RecordHeader,
): boolean {
  if (start + total <= bytes.length) {
    return decodeRecord(bytes, start, start + total, position, run.saltLow, run.saltHigh, out) === total
  }
  if (!mayBeRecord(bytes, start, bytes.length, total, position, out)) return false
  const whole = Buffer.allocUnsafe(total)
  if (source.read(position, whole, 0, total) < total) return false
  return decodeRecord(whole, 0, total, position, run.saltLow, run.saltHigh, out) === total
}
