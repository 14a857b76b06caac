/**
 * Saves what a region's log ring holds beyond the segments, after all its participants died on a machine that lives.
 *
 * The files were written through the page cache, so the log on disk ends at or beyond `written`. The ring is believed only
 * where it fits: the same run, its kept stretch reaching back to the log's end, equal bytes where both have them. Then its
 * records are checked one by one and written behind. Whoever calls holds the lock of opening: nobody else is there.
 *
 * After a failed write or sync the kernel may take pages for clean that never reached the disk: then what lies between the
 * durable position and the log's end is written once more.
 */
import { join } from 'node:path'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import { type Lsn, RECORD_BAD, RecordHeader } from './record.js'
import { type LogRing, POISON_NONE } from './ring.js'
import { type LogLatch, SegmentAllocator } from './segment-allocator.js'
import { SegmentSource } from './segment-source.js'
import { SEGMENT_HEADER_BYTES, segmentName } from './segments.js'
import { copyRingToSegments } from './writer.js'

export interface SalvageOptions {
  readonly files: FileSystem
  readonly directory: string
  readonly databaseId: Uint8Array
  /** The dead region's ring. */
  readonly ring: LogRing
  /** Where the log on disk ends, as LogReader found it; a record's boundary. */
  readonly logEnd: Lsn
}

export interface Salvage {
  /** The log's end now: `logEnd` when there was nothing to save. Durable. */
  readonly end: Lsn
  readonly records: number
  /** Why the ring, or its rest from `end` on, was not used. */
  readonly refused?: string
}

const exclusive: LogLatch = { tryAcquire: () => true, acquire: () => {}, release: () => {} }

export function salvageRing(options: SalvageOptions): Salvage {
  const { ring, logEnd } = options
  const refused = refusal(options)
  if (refused !== undefined) return { end: logEnd, records: 0, refused }
  const { end, records } = soundRecords(ring, logEnd)
  const failed = ring.poison !== POISON_NONE
  ring.clearPoison()
  if (failed || end > logEnd) complete(options, end, failed)
  if (end === ring.tail) return { end, records }
  return { end, records, refused: `the ring's record at ${end} is not sound` }
}

/** Why the ring cannot be continued from the log's end; undefined when it fits. */
function refusal(options: SalvageOptions): string | undefined {
  const { ring, logEnd } = options
  const { base, durable, written, tail, keepFrom } = ring
  const positions = [base, durable, written, tail]
  if (!positions.every(position => Number.isSafeInteger(position) && position >= 0)) return 'its words are no positions'
  if (base > durable || durable > written || written > tail) return 'its words contradict each other'
  const kept = Math.min(written, keepFrom)
  if (!(tail - kept <= ring.capacity)) return 'it holds less than its words say'
  if (logEnd > tail) return `the log ends at ${logEnd}, behind its tail ${tail}`
  if (logEnd < kept) return `the log ends at ${logEnd}, and it reaches back to ${kept} only`
  const source = new SegmentSource(options)
  try {
    const run = source.runs.at(-1)
    if (run === undefined || run.base !== base || run.saltLow !== ring.saltLow || run.saltHigh !== ring.saltHigh) {
      return 'it is of another run than the log'
    }
    return differs(source, ring, Math.max(kept, base), logEnd)
  } finally {
    source.close()
  }
}

function differs(source: SegmentSource, ring: LogRing, from: Lsn, to: Lsn): string | undefined {
  if (to <= from) return undefined
  const onDisk = Buffer.alloc(to - from)
  if (source.read(from, onDisk, 0, onDisk.length) < onDisk.length) return 'the log has no segment for a part of it'
  ring.view(from, onDisk.length)
  const inRing = ring.viewBytes.subarray(ring.viewStart, ring.viewStart + onDisk.length)
  return onDisk.equals(inRing) ? undefined : 'it and the log differ where they overlap'
}

function soundRecords(ring: LogRing, from: Lsn): { end: Lsn; records: number } {
  const header = new RecordHeader()
  let end = from
  let records = 0
  while (end < ring.tail) {
    const total = ring.readRecord(end, header)
    if (total === RECORD_BAD) break
    end += total
    records++
  }
  return { end, records }
}

/**
 * Writes the ring's bytes from the log's end to `end` into the run's segments, and syncs all that the ring covered;
 * `again`: what the segments have beyond the durable position is written anew before.
 */
function complete(options: SalvageOptions, end: Lsn, again: boolean): void {
  const { files, directory, ring, logEnd } = options
  const from = Math.min(ring.durable, logEnd)
  if (end <= from) return
  new SegmentAllocator({ ...options, latch: exclusive }).ensure(end, 0)
  const first = ring.segmentOf(from)
  const handles: FileHandle[] = []
  try {
    for (let segment = first; segment <= ring.segmentOf(end - 1); segment++) {
      handles.push(files.open(join(directory, segmentName(segment))))
    }
    if (again) rewrite(ring, from, logEnd, handles)
    if (end > logEnd) copyRingToSegments(ring, logEnd, end, handles.slice(ring.segmentOf(logEnd) - first))
    for (const handle of handles) handle.sync()
  } finally {
    for (const handle of handles) handle.close()
  }
}

/** Reads [from, to) and writes it back, so that the kernel takes it for changed. */
function rewrite(ring: LogRing, from: Lsn, to: Lsn, handles: readonly FileHandle[]): void {
  const buffer = Buffer.allocUnsafe(1 << 20)
  const first = ring.segmentOf(from)
  for (let position = from; position < to; ) {
    const segment = ring.segmentOf(position)
    const offset = SEGMENT_HEADER_BYTES + position - ring.segmentStart(segment)
    const length = Math.min(buffer.length, to - position, ring.segmentStart(segment + 1) - position)
    const handle = handles[segment - first]!
    handle.write(buffer, 0, handle.read(buffer, 0, length, offset), offset)
    position += length
  }
}
