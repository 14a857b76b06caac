/**
 * Beginning a run: the step of every open that recovers, after which the log can be appended to.
 *
 * The new run's first segment says where the log before it ended. That sentence makes void whatever lies beyond (torn
 * records, and whole ones behind a torn one), and declares whole what lies before, so what lies before is synced first: a
 * killed process leaves records that are in the page cache only.
 */
import { randomBytes } from 'node:crypto'
import { assert } from '../base/assert.js'
import { HyphaError } from '../base/errors.js'
import type { FileSystem } from '../os/file-system.js'
import type { Lsn } from './record.js'
import type { Run } from './ring.js'
import { placeSegment } from './segment-allocator.js'
import {
  DATABASE_ID_BYTES,
  listSegments,
  MIN_SEGMENT_BYTES,
  SEGMENT_HEADER_BYTES,
  type SegmentList,
} from './segments.js'

export interface BeginRunOptions {
  readonly files: FileSystem
  readonly directory: string
  readonly databaseId: Uint8Array
  /** Where the log ends: what LogReader found, and salvage added. 0 for a new database. */
  readonly base: Lsn
  /** Everything before is known to be synced: where recovery began to read. */
  readonly durableBefore: Lsn
  /** Size of a segment file. */
  readonly segmentBytes: number
  /** Two 32-bit integers; random by default. */
  readonly salt?: readonly [number, number]
}

/** Creates the run's first segment, durably; the result goes to LogRing.begin. Requires that nobody else has the log open. */
export function beginRun(options: BeginRunOptions): Run {
  const { files, directory, databaseId, base, segmentBytes } = options
  assert(databaseId.length === DATABASE_ID_BYTES, 'a database id has sixteen bytes')
  if (!Number.isSafeInteger(segmentBytes) || segmentBytes < MIN_SEGMENT_BYTES || segmentBytes % 4096 !== 0) {
    throw new HyphaError('HYPHA_INVALID', `A log segment is a multiple of 4096 and at least ${MIN_SEGMENT_BYTES} bytes`)
  }
  const list = listSegments(files, directory, databaseId)
  syncBefore(files, list, options.durableBefore, base)
  const [saltLow, saltHigh] = options.salt ?? freshSalt(list)
  const number = list.largestNumber + 1
  const payload = segmentBytes - SEGMENT_HEADER_BYTES
  placeSegment(files, directory, {
    databaseId,
    number,
    start: base,
    base,
    firstSegment: number,
    payload,
    saltLow,
    saltHigh,
  })
  files.syncDirectory(directory)
  return { base, firstSegment: number, segmentPayload: payload, saltLow, saltHigh, allocatedEnd: base + payload }
}

function syncBefore(files: FileSystem, list: SegmentList, from: Lsn, to: Lsn): void {
  for (const { header, path, end } of list.segments) {
    if (end <= from || header.start >= to) continue
    const handle = files.open(path)
    try {
      handle.sync()
    } finally {
      handle.close()
    }
  }
}

/** A salt that no run in sight has. */
function freshSalt(list: SegmentList): readonly [number, number] {
  for (;;) {
    const bytes = randomBytes(8)
    const salt = [bytes.readInt32LE(0), bytes.readInt32LE(4)] as const
    if (!list.runs.some(run => run.saltLow === salt[0] || run.saltHigh === salt[1])) return salt
  }
}
