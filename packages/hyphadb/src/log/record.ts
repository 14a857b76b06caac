/**
 * Log records: the bytes of one, and how they are read back.
 *
 * A position in the log (log sequence number) is the number of bytes ever logged before it: a float64 that only grows.
 *
 * | bytes | field | in |
 * |---|---|---|
 * | 1..4 | length: bytes after this field (varint; 0 = no record here) | all |
 * | 4 | checksum, little endian (record-checksum.ts) | all |
 * | 1 | marker 0xF5: lets a search for records hop with memchr; no byte of UTF-8 text equals it | all |
 * | 1 | type (low 4 bits), FLAG_FRAGMENTED 0x10 | all |
 * | 1..8 | commit sequence; of a record that is no commit: the newest one before it | all |
 * | 1..8 | distance back from this record to the durable position known when it was appended | all |
 * | 1..8 | timestamp (hybrid clock, milliseconds) | commit, stub, checkpoint |
 * | 1.. | origin: a byte of flags, 0 for a local change, then what the flags announce: | commit, stub |
 * | 1..8 | 0x01 origin id | |
 * | 1..8 | 0x02 sequence of the origin | |
 * | 1.. | 0x04 dependencies: how many, then pairs of origin id and sequence | |
 * | 1..8 ×3 | transaction id, number of fragments, distance back to the first one | commit with FLAG_FRAGMENTED |
 * | 1..8 ×2 | transaction id, index of the fragment (from 0) | fragment |
 * | 1..8 ×2 | epoch, log position of the checkpoint | checkpoint |
 * | rest | operations (operation-decoder.ts); zeros in padding | commit, fragment, padding |
 *
 * Invariants
 * 1. A record is valid only at its own position and under its own run's salt.
 * 2. Varints have one form, unknown types and flags are refused: what decodes was written by this code.
 * 3. Decoding reads no byte outside the range that it is given, allocates nothing for what it has not checked, and
 *    believes no field before the checksum was right.
 * 4. One put of a 16-byte key and a 100-byte value costs 25 to 30 bytes beside them.
 */
import { readVarint, varintEnd, varintLength, writeVarint } from '../base/varint.js'
import { bodyChecksum, recordChecksum } from './record-checksum.js'

/** A log position. A plain number at run time. */
declare const lsnBrand: unique symbol
export type Lsn = number & { readonly [lsnBrand]?: true }

export const RECORD_COMMIT = 1
/** Part of a transaction that is committed, if at all, by a later commit record. */
export const RECORD_FRAGMENT = 2
/** A checkpoint is complete: its superblock is durable. */
export const RECORD_CHECKPOINT = 3
/** A commit that took its sequence and changed nothing here. */
export const RECORD_STUB = 4
/** Means nothing but its durable position: fills space, or attests on an idle database that what precedes is on disk. */
export const RECORD_PADDING = 5

export const FLAG_FRAGMENTED = 0x10

export const RECORD_MARKER = 0xf5
export const ORIGIN_ID = 0x01
export const ORIGIN_SEQUENCE = 0x02
export const ORIGIN_DEPENDENCIES = 0x04
const ORIGIN_KNOWN = ORIGIN_ID | ORIGIN_SEQUENCE | ORIGIN_DEPENDENCIES

export const LENGTH_FIELD_BYTES_MAX = 4
export const CHECKSUM_BYTES = 4
/** Longest record; a transaction beyond it comes in fragments. Four bytes of varint hold twice as much. */
export const MAX_RECORD_BYTES = 1 << 26
/** A record cannot be shorter: length, checksum, marker, type, sequence, distance. */
export const MIN_RECORD_BYTES = 1 + CHECKSUM_BYTES + 4
/** What header and length can take at most without dependencies. */
export const HEADER_BYTES_MAX = 96
/** What one dependency can take at most. */
export const DEPENDENCY_BYTES_MAX = 16

/** Result of decodeRecord: the range ends before the record does. `total` tells how much is needed, if known. */
export const RECORD_CUT = 0
/** Result of decodeRecord: these bytes are no record. */
export const RECORD_BAD = -1

/** The fields of a record; filled by decodeRecord and used again for the next. Fields that a type lacks are 0. */
export class RecordHeader {
  type = 0
  /** Bytes from the first of the length field to the last of the body; after RECORD_CUT: what is needed, 0 if unknown. */
  total = 0
  bodyStart = 0
  bodyEnd = 0
  sequence = 0
  /** Durable position known when the record was appended. */
  durable: Lsn = 0
  timestamp = 0
  /** Flags ORIGIN_*; 0 for a local change. */
  originFlags = 0
  originId = 0
  originSequence = 0
  dependencyCount = 0
  /** Pairs of origin id and sequence; the first `2 * dependencyCount` numbers are of this record. */
  dependencies = new Float64Array(16)
  /** Of a fragment, and of a commit with fragments (`fragmentCount` > 0). */
  transactionId = 0
  fragmentIndex = 0
  fragmentCount = 0
  /** Position of the first fragment of this commit. */
  firstFragment: Lsn = 0
  checkpointEpoch = 0
  checkpointPosition: Lsn = 0
}

/**
 * Decodes the record at `bytes[start]`, which may look at bytes below `end` and lies at `position` in the log.
 * Returns its total length, RECORD_CUT or RECORD_BAD. `out` is believable only after a length.
 */
export function decodeRecord(
  bytes: Uint8Array,
  start: number,
  end: number,
  position: Lsn,
  saltLow: number,
  saltHigh: number,
  out: RecordHeader,
): number {
  const shape = decodeLength(bytes, start, end, out)
  if (shape !== 1) return shape
  const checksumAt = varintEnd
  const recordEnd = start + out.total
  const fieldsStart = checksumAt + CHECKSUM_BYTES
  if (!decodeFields(bytes, fieldsStart, recordEnd, position, out)) return RECORD_BAD
  const stored =
    bytes[checksumAt]! | (bytes[checksumAt + 1]! << 8) | (bytes[checksumAt + 2]! << 16) | (bytes[checksumAt + 3]! << 24)
  const body = bodyChecksum(bytes, out.bodyStart, recordEnd)
  if (stored !== recordChecksum(bytes, start, checksumAt, out.bodyStart, body, position, saltLow, saltHigh))
    return RECORD_BAD
  out.bodyEnd = recordEnd
  return out.total
}

/**
 * For who has found what may be the marker of a long record and has only its first bytes: false when its fields cannot be
 * a record's, so that the rest need not be read. True promises nothing.
 */
export function mayBeRecord(
  bytes: Uint8Array,
  start: number,
  end: number,
  total: number,
  position: Lsn,
  out: RecordHeader,
): boolean {
  readVarint(bytes, start, end)
  const fieldsStart = varintEnd + CHECKSUM_BYTES
  if (fieldsStart + HEADER_BYTES_MAX > end) return true
  out.originFlags = 0
  if (decodeFields(bytes, fieldsStart, start + total, position, out)) return true
  // Dependencies may be longer than what is at hand.
  return (out.originFlags & ORIGIN_DEPENDENCIES) !== 0
}

/** Reads the length field: 1 when the whole record lies below `end` (varintEnd is then behind the field), else a result. */
function decodeLength(bytes: Uint8Array, start: number, end: number, out: RecordHeader): number {
  out.total = 0
  if (start >= end) return RECORD_CUT
  const length = readVarint(bytes, start, Math.min(end, start + LENGTH_FIELD_BYTES_MAX))
  if (length < 0) return mayBeCut(bytes, start, end) ? RECORD_CUT : RECORD_BAD
  const total = varintEnd - start + length
  if (length < MIN_RECORD_BYTES - 1 || total > MAX_RECORD_BYTES) return RECORD_BAD
  out.total = total
  // The marker is looked at before anybody reads, or makes room for, what a length out of garbage asks for.
  const marker = varintEnd + CHECKSUM_BYTES
  if (marker < end && bytes[marker] !== RECORD_MARKER) return RECORD_BAD
  return start + total > end ? RECORD_CUT : 1
}

/** True when the range ends inside a length field. */
function mayBeCut(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start >= LENGTH_FIELD_BYTES_MAX) return false
  for (let i = start; i < end; i++) if (bytes[i]! < 0x80) return false
  return true
}

/** Whether a record's type may be written so. */
export function isTypeByte(byte: number): boolean {
  return byte === (RECORD_COMMIT | FLAG_FRAGMENTED) || (byte >= RECORD_COMMIT && byte <= RECORD_PADDING)
}

/** Reads the fields from the marker to the body; false when they cannot be a record's. */
function decodeFields(bytes: Uint8Array, start: number, end: number, position: Lsn, out: RecordHeader): boolean {
  if (bytes[start] !== RECORD_MARKER) return false
  const typeByte = bytes[start + 1]!
  const type = typeByte & 0x0f
  const fragmented = typeByte & FLAG_FRAGMENTED
  if (!isTypeByte(typeByte)) return false
  clearOptionalFields(out, type)
  out.sequence = readVarint(bytes, start + 2, end)
  if (out.sequence < 0) return false
  const distance = readVarint(bytes, varintEnd, end)
  if (distance < 0 || distance > position) return false
  out.durable = position - distance
  out.bodyStart = varintEnd
  if (type === RECORD_PADDING) return true
  if (type === RECORD_FRAGMENT) return decodeFragmentFields(bytes, end, out)
  out.timestamp = readVarint(bytes, varintEnd, end)
  if (out.timestamp < 0) return false
  if (type === RECORD_CHECKPOINT) return decodeCheckpointFields(bytes, end, out)
  if (!decodeOrigin(bytes, varintEnd, end, out)) return false
  if (fragmented !== 0 && !decodeFragmentedFields(bytes, end, position, out)) return false
  return type !== RECORD_STUB || out.bodyStart === end
}

function clearOptionalFields(out: RecordHeader, type: number): void {
  out.type = type
  out.timestamp = 0
  out.originFlags = 0
  out.originId = 0
  out.originSequence = 0
  out.dependencyCount = 0
  out.transactionId = 0
  out.fragmentIndex = 0
  out.fragmentCount = 0
  out.firstFragment = 0
  out.checkpointEpoch = 0
  out.checkpointPosition = 0
}

function decodeFragmentFields(bytes: Uint8Array, end: number, out: RecordHeader): boolean {
  out.transactionId = readVarint(bytes, varintEnd, end)
  if (out.transactionId < 0) return false
  out.fragmentIndex = readVarint(bytes, varintEnd, end)
  if (out.fragmentIndex < 0) return false
  out.bodyStart = varintEnd
  return true
}

function decodeCheckpointFields(bytes: Uint8Array, end: number, out: RecordHeader): boolean {
  out.checkpointEpoch = readVarint(bytes, varintEnd, end)
  if (out.checkpointEpoch < 0) return false
  out.checkpointPosition = readVarint(bytes, varintEnd, end)
  if (out.checkpointPosition < 0) return false
  out.bodyStart = varintEnd
  return out.bodyStart === end
}

function decodeFragmentedFields(bytes: Uint8Array, end: number, position: Lsn, out: RecordHeader): boolean {
  out.transactionId = readVarint(bytes, out.bodyStart, end)
  if (out.transactionId < 0) return false
  out.fragmentCount = readVarint(bytes, varintEnd, end)
  if (out.fragmentCount <= 0) return false
  const distance = readVarint(bytes, varintEnd, end)
  if (distance <= 0 || distance > position) return false
  out.firstFragment = position - distance
  out.bodyStart = varintEnd
  return true
}

function decodeOrigin(bytes: Uint8Array, start: number, end: number, out: RecordHeader): boolean {
  if (start >= end) return false
  const flags = bytes[start]!
  let at = start + 1
  if ((flags & ~ORIGIN_KNOWN) !== 0) return false
  out.originFlags = flags
  if ((flags & ORIGIN_ID) !== 0) {
    out.originId = readVarint(bytes, at, end)
    if (out.originId < 0) return false
    at = varintEnd
  }
  if ((flags & ORIGIN_SEQUENCE) !== 0) {
    out.originSequence = readVarint(bytes, at, end)
    if (out.originSequence < 0) return false
    at = varintEnd
  }
  if ((flags & ORIGIN_DEPENDENCIES) !== 0) {
    at = decodeDependencies(bytes, at, end, out)
    if (at < 0) return false
  }
  out.bodyStart = at
  return true
}

/** Returns the offset behind the dependencies, or -1. */
function decodeDependencies(bytes: Uint8Array, start: number, end: number, out: RecordHeader): number {
  const count = readVarint(bytes, start, end)
  // A pair takes two bytes at least: the count is bounded by what is there before anything grows for it.
  if (count <= 0 || count > (end - varintEnd) / 2) return -1
  if (out.dependencies.length < 2 * count) out.dependencies = new Float64Array(2 * count)
  let at = varintEnd
  for (let i = 0; i < 2 * count; i++) {
    const value = readVarint(bytes, at, end)
    if (value < 0) return -1
    out.dependencies[i] = value
    at = varintEnd
  }
  out.dependencyCount = count
  return at
}

/** What a record says about where it comes from; encoded by writeOrigin. `flags` 0 is a local change without more. */
export interface OriginFields {
  flags: number
  id: number
  sequence: number
  dependencyCount: number
  /** Pairs of origin id and sequence. */
  dependencies: Float64Array
}

export function originLength(origin: OriginFields): number {
  let length = 1
  if (origin.flags === 0) return length
  if ((origin.flags & ORIGIN_ID) !== 0) length += varintLength(origin.id)
  if ((origin.flags & ORIGIN_SEQUENCE) !== 0) length += varintLength(origin.sequence)
  if ((origin.flags & ORIGIN_DEPENDENCIES) !== 0) {
    length += varintLength(origin.dependencyCount)
    for (let i = 0; i < 2 * origin.dependencyCount; i++) length += varintLength(origin.dependencies[i]!)
  }
  return length
}

/** Writes the origin at `offset`; returns the offset behind it. */
export function writeOrigin(bytes: Uint8Array, offset: number, origin: OriginFields): number {
  let at = offset
  bytes[at++] = origin.flags
  if (origin.flags === 0) return at
  if ((origin.flags & ORIGIN_ID) !== 0) at = writeVarint(bytes, at, origin.id)
  if ((origin.flags & ORIGIN_SEQUENCE) !== 0) at = writeVarint(bytes, at, origin.sequence)
  if ((origin.flags & ORIGIN_DEPENDENCIES) !== 0) {
    at = writeVarint(bytes, at, origin.dependencyCount)
    for (let i = 0; i < 2 * origin.dependencyCount; i++) at = writeVarint(bytes, at, origin.dependencies[i]!)
  }
  return at
}
