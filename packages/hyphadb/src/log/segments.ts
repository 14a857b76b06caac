/**
 * Segment files: the log on disk, cut into files of one size in `log/`.
 *
 * Names: twelve digits and `.segment`, numbered from 1; `spare-<digits>` is a file to be used again, whose contents
 * mean nothing; `new.tmp` is one being made.
 *
 * Header, the first 4096 bytes:
 * | byte | type | what |
 * |---|---|---|
 * | 0 | 8 bytes | magic "HYPHALOG" |
 * | 8 | u32 | format version |
 * | 12 | u32 | crc32 of the 4096 bytes with this field zero |
 * | 16 | 16 bytes | database id |
 * | 32 | f64 | segment number, as in the name |
 * | 40 | f64 | position of the first payload byte |
 * | 48 | f64 | base of the run: where the run begins and its predecessor ended |
 * | 56 | f64 | number of the run's first segment |
 * | 64 | f64 | payload bytes: the file is 4096 longer |
 * | 72 | u32 ×2 | salt of the run |
 * | 80..4095 | | zero |
 *
 * Payloads follow each other without gap, so within a run segment and offset follow from a position by arithmetic, and a
 * record may lie across two files.
 *
 * A *run* is what is logged between two recoveries. Each has its own salt and begins a new segment, whose header says
 * where the run before ended. What an earlier run has at or beyond a later run's base is void, whatever it holds.
 *
 * Invariants
 * 1. A file gets its final name only when its header is synced, and the directory is synced before any record in it is
 *    written. So a bad header or a short file under a final name is damage, never the trace of a power loss.
 * 2. A file becomes a spare, and the directory is synced, before its header is overwritten. So a file under a final name
 *    has the header that belongs to this name.
 * 3. Numbers are never used twice: nobody who was away can take a new segment for an old one.
 * 4. A run's base is declared only after everything before it has been synced.
 */
import { join } from 'node:path'
import { crc32 } from '../base/checksum.js'
import { HyphaError } from '../base/errors.js'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import type { Lsn } from './record.js'

export const SEGMENT_HEADER_BYTES = 4096
export const LOG_FORMAT_VERSION = 1
export const DEFAULT_SEGMENT_BYTES = 16 << 20
export const MIN_SEGMENT_BYTES = 2 * SEGMENT_HEADER_BYTES
export const DATABASE_ID_BYTES = 16

const MAGIC = Buffer.from('HYPHALOG', 'latin1')
const VERSION_AT = 8
const CHECKSUM_AT = 12
const DATABASE_ID_AT = 16
const NUMBER_AT = 32
const START_AT = 40
const BASE_AT = 48
const FIRST_SEGMENT_AT = 56
const PAYLOAD_AT = 64
const SALT_AT = 72

const NAME_DIGITS = 12
const namePattern = /^\d{12}\.segment$/
const SPARE_PREFIX = 'spare-'
export const TEMPORARY_NAME = 'new.tmp'

export interface SegmentHeader {
  readonly databaseId: Uint8Array
  readonly number: number
  readonly start: Lsn
  /** Where the run begins; its predecessor ended there. */
  readonly base: Lsn
  readonly firstSegment: number
  readonly payload: number
  readonly saltLow: number
  readonly saltHigh: number
}

export function segmentName(number: number): string {
  return `${String(number).padStart(NAME_DIGITS, '0')}.segment`
}

/** The number of a segment's file name, or 0 when the name is not a segment's. */
export function segmentNumber(name: string): number {
  return namePattern.test(name) ? Number(name.slice(0, NAME_DIGITS)) : 0
}

export function spareName(number: number): string {
  return `${SPARE_PREFIX}${String(number).padStart(NAME_DIGITS, '0')}`
}

export function isSpareName(name: string): boolean {
  return name.startsWith(SPARE_PREFIX)
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt32LE(LOG_FORMAT_VERSION, VERSION_AT)
  bytes.set(header.databaseId.subarray(0, DATABASE_ID_BYTES), DATABASE_ID_AT)
  bytes.writeDoubleLE(header.number, NUMBER_AT)
  bytes.writeDoubleLE(header.start, START_AT)
  bytes.writeDoubleLE(header.base, BASE_AT)
  bytes.writeDoubleLE(header.firstSegment, FIRST_SEGMENT_AT)
  bytes.writeDoubleLE(header.payload, PAYLOAD_AT)
  bytes.writeInt32LE(header.saltLow, SALT_AT)
  bytes.writeInt32LE(header.saltHigh, SALT_AT + 4)
  bytes.writeUInt32LE(crc32(bytes), CHECKSUM_AT)
  return bytes
}

/** Decodes and checks a header; throws HYPHA_CORRUPT or HYPHA_VERSION, naming the file. Changes `bytes`. */
export function decodeSegmentHeader(bytes: Buffer, path: string, databaseId?: Uint8Array): SegmentHeader {
  if (bytes.length < SEGMENT_HEADER_BYTES) throw damaged(path, 'is cut off inside its header')
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged(path, 'does not begin like a log segment')
  const stored = bytes.readUInt32LE(CHECKSUM_AT)
  bytes.writeUInt32LE(0, CHECKSUM_AT)
  if (crc32(bytes.subarray(0, SEGMENT_HEADER_BYTES)) !== stored)
    throw damaged(path, 'has a header whose checksum is wrong')
  const version = bytes.readUInt32LE(VERSION_AT)
  if (version !== LOG_FORMAT_VERSION) {
    throw new HyphaError(
      'HYPHA_VERSION',
      `Log segment ${path} has format ${version}, and this version of HyphaDB reads ${LOG_FORMAT_VERSION}: open it with the version that wrote it`,
    )
  }
  const header: SegmentHeader = {
    databaseId: Uint8Array.from(bytes.subarray(DATABASE_ID_AT, DATABASE_ID_AT + DATABASE_ID_BYTES)),
    number: bytes.readDoubleLE(NUMBER_AT),
    start: bytes.readDoubleLE(START_AT),
    base: bytes.readDoubleLE(BASE_AT),
    firstSegment: bytes.readDoubleLE(FIRST_SEGMENT_AT),
    payload: bytes.readDoubleLE(PAYLOAD_AT),
    saltLow: bytes.readInt32LE(SALT_AT),
    saltHigh: bytes.readInt32LE(SALT_AT + 4),
  }
  checkHeader(header, path, databaseId)
  return header
}

function checkHeader(header: SegmentHeader, path: string, databaseId: Uint8Array | undefined): void {
  const { number, start, base, firstSegment, payload } = header
  const numbers = [number, start, base, firstSegment, payload]
  const consistent =
    numbers.every(value => Number.isSafeInteger(value) && value >= 0) &&
    payload > 0 &&
    firstSegment <= number &&
    start === base + (number - firstSegment) * payload
  if (!consistent) throw damaged(path, 'has a header whose numbers contradict each other')
  if (databaseId !== undefined && Buffer.compare(databaseId, header.databaseId) !== 0) {
    throw damaged(path, 'belongs to another database')
  }
  if (!path.endsWith(segmentName(number)) && !isSpareName(path.slice(path.lastIndexOf('/') + 1))) {
    throw damaged(path, `says that it is segment ${number}`)
  }
}

function damaged(path: string, what: string): HyphaError {
  return new HyphaError(
    'HYPHA_CORRUPT',
    `Log segment ${path} (offset 0) ${what}: run 'hypha verify', and restore from a backup`,
  )
}

export function readSegmentHeader(handle: FileHandle, databaseId?: Uint8Array): SegmentHeader {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  const length = handle.read(bytes, 0, SEGMENT_HEADER_BYTES, 0)
  return decodeSegmentHeader(bytes.subarray(0, length), handle.path, databaseId)
}

/** A segment has its whole size before it has its name: a shorter file has lost what it held. */
function checkSize(handle: FileHandle, header: SegmentHeader): void {
  const size = handle.size()
  if (size >= SEGMENT_HEADER_BYTES + header.payload) return
  throw new HyphaError(
    'HYPHA_CORRUPT',
    `Log segment ${handle.path} ends at offset ${size}, and has ${SEGMENT_HEADER_BYTES + header.payload} bytes by its header: run 'hypha verify', and restore from a backup`,
  )
}

/** A segment as it counts: what a later run has made void is cut off. */
export interface Segment {
  readonly header: SegmentHeader
  readonly path: string
  /** End of what counts: the payload's end, or the base of the next run. At or before `header.start`: all is void. */
  readonly end: Lsn
}

/** A stretch of the log under one salt. */
export interface RunExtent {
  readonly base: Lsn
  /** Where the run ended, or could end at most if it is the last. */
  readonly end: Lsn
  /** True when a later run declares this run's end: everything before it was whole then. */
  readonly closed: boolean
  readonly saltLow: number
  readonly saltHigh: number
}

export interface SegmentFault {
  readonly number: number
  readonly path: string
  readonly error: HyphaError
}

export interface SegmentList {
  /** By number; those that are wholly void are left out. */
  readonly segments: Segment[]
  readonly runs: RunExtent[]
  /** Wholly void: what an earlier run had prepared, or logged beyond a torn record. */
  readonly voided: Segment[]
  /** Files under a segment's name whose header cannot be believed. */
  readonly faults: SegmentFault[]
  /** The largest number in any name, readable or not; 0 without segments. */
  readonly largestNumber: number
}

/** Reads the headers of all segments in a directory and works out what counts. */
export function listSegments(files: FileSystem, directory: string, databaseId?: Uint8Array): SegmentList {
  const headers: { header: SegmentHeader; path: string }[] = []
  const faults: SegmentFault[] = []
  let largestNumber = 0
  for (const name of files.list(directory)) {
    const number = segmentNumber(name)
    if (number === 0) continue
    largestNumber = Math.max(largestNumber, number)
    const path = join(directory, name)
    try {
      const handle = files.open(path, { readOnly: true })
      try {
        const header = readSegmentHeader(handle, databaseId)
        checkSize(handle, header)
        headers.push({ header, path })
      } finally {
        handle.close()
      }
    } catch (error) {
      if (!(error instanceof HyphaError)) throw error
      // Recycled between listing and opening.
      if (error.code === 'HYPHA_NOT_FOUND') continue
      if (error.code !== 'HYPHA_CORRUPT' && error.code !== 'HYPHA_VERSION') throw error
      faults.push({ number, path, error })
    }
  }
  headers.sort((a, b) => a.header.number - b.header.number)
  return { ...cutByRuns(headers), faults, largestNumber }
}

/** From the newest run to the oldest: each ends at the smallest base of the runs after it. */
function cutByRuns(
  headers: { header: SegmentHeader; path: string }[],
): Pick<SegmentList, 'segments' | 'runs' | 'voided'> {
  const segments: Segment[] = []
  const voided: Segment[] = []
  const runs: RunExtent[] = []
  let limit = Infinity
  for (let i = headers.length - 1; i >= 0; ) {
    const { saltLow, saltHigh, base } = headers[i]!.header
    let runEnd: Lsn = base
    for (; i >= 0 && sameRun(headers[i]!.header, saltLow, saltHigh, base); i--) {
      const { header, path } = headers[i]!
      const end = Math.min(header.start + header.payload, limit)
      // The first segment of a run that holds nothing yet still counts: appending goes on there.
      const counts = end > header.start
      ;(counts ? segments : voided).push({ header, path, end })
      if (counts) runEnd = Math.max(runEnd, end)
    }
    if (runEnd > base) runs.push({ base, end: runEnd, closed: limit !== Infinity, saltLow, saltHigh })
    limit = Math.min(limit, base)
  }
  segments.reverse()
  runs.reverse()
  return { segments, runs, voided }
}

function sameRun(header: SegmentHeader, saltLow: number, saltHigh: number, base: Lsn): boolean {
  return header.saltLow === saltLow && header.saltHigh === saltHigh && header.base === base
}
