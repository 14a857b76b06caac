/**
 * The segments of a directory as one stretch of bytes addressed by log position: what the reader, verify and salvage read
 * from. Sees the directory as it was at `refresh`; holds one file open at a time. One thread.
 */
import { HyphaError, isHyphaError } from '../base/errors.js'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import type { Lsn } from './record.js'
import { listSegments, type RunExtent, SEGMENT_HEADER_BYTES, type Segment, type SegmentFault } from './segments.js'

export interface SegmentSourceOptions {
  readonly files: FileSystem
  readonly directory: string
  readonly databaseId?: Uint8Array
  /**
   * What to throw when the log does not hold what is asked for: HYPHA_CORRUPT for recovery (default), for whom it must;
   * HYPHA_SNAPSHOT_TOO_OLD for a consumer that stayed away too long.
   */
  readonly missing?: 'HYPHA_CORRUPT' | 'HYPHA_SNAPSHOT_TOO_OLD'
}

export interface Place {
  readonly file: string
  readonly offset: number
}

export class SegmentSource {
  readonly directory: string
  runs: RunExtent[] = []
  segments: Segment[] = []
  faults: SegmentFault[] = []
  readonly #options: SegmentSourceOptions
  #handle: FileHandle | undefined
  /** Index in `segments` of the one that was used last. */
  #current = 0

  constructor(options: SegmentSourceOptions) {
    this.#options = options
    this.directory = options.directory
    this.refresh()
  }

  /** Looks at the directory again. */
  refresh(): void {
    this.close()
    const list = listSegments(this.#options.files, this.#options.directory, this.#options.databaseId)
    this.segments = list.segments
    this.runs = list.runs
    this.faults = list.faults
    this.#current = 0
  }

  close(): void {
    this.#handle?.close()
    this.#handle = undefined
  }

  /** First position that is there; 0 for an empty log. */
  get start(): Lsn {
    return this.segments[0]?.header.start ?? 0
  }

  /** End of the last segment's payload: nothing can be beyond. */
  get end(): Lsn {
    return this.segments.at(-1)?.end ?? 0
  }

  /**
   * Checks that from `position` to the end there is a segment for every byte and every header is sound; throws what is
   * wrong. Headers that lie before are nobody's concern.
   */
  requireFrom(position: Lsn): void {
    if (this.segments.length === 0 && this.faults.length === 0 && position === 0) return
    const first = this.segments.findIndex(({ header, end }) => header.start <= position && position < end)
    const fault = this.faults.find(({ number }) => first < 0 || number > this.segments[first]!.header.number)
    if (fault !== undefined) throw fault.error
    if (first < 0) {
      if (position === this.end && position > 0) return
      throw this.#absent(position)
    }
    for (let i = first + 1; i < this.segments.length; i++) {
      const expected = this.segments[i - 1]!.end
      if (this.segments[i]!.header.start !== expected) throw this.#absent(expected)
    }
  }

  /** The run that holds the byte at `position`; undefined beyond the end. */
  runAt(position: Lsn): RunExtent | undefined {
    return this.runs.find(({ base, end }) => base <= position && position < end)
  }

  /** Where the segments that follow each other without a gap from `position` on end; `position` itself if there is none. */
  contiguousEnd(position: Lsn): Lsn {
    let end = position
    for (const segment of this.segments) {
      if (segment.header.start <= end && end < segment.end) end = segment.end
      else if (segment.header.start > end) break
    }
    return end
  }

  /** File and offset of a position: for messages. */
  placeOf(position: Lsn): Place {
    const segment =
      this.segments.find(({ header, end }) => header.start <= position && position < end) ?? this.segments.at(-1)
    if (segment === undefined) return { file: this.directory, offset: 0 }
    return { file: segment.path, offset: SEGMENT_HEADER_BYTES + position - segment.header.start }
  }

  /**
   * Reads [position, position + length) into `buffer[offset, …)`; returns how many bytes there were before the last
   * segment's end. A file that is shorter than it should be reads as zeros: what is missing is no record.
   */
  read(position: Lsn, buffer: Uint8Array, offset: number, length: number): number {
    let done = 0
    while (done < length) {
      const segment = this.#segmentAt(position + done)
      if (segment === undefined) break
      const at = position + done
      const wanted = Math.min(length - done, segment.end - at)
      const got = this.#open(segment).read(
        buffer,
        offset + done,
        wanted,
        SEGMENT_HEADER_BYTES + at - segment.header.start,
      )
      if (got < wanted) buffer.fill(0, offset + done + got, offset + done + wanted)
      done += wanted
    }
    return done
  }

  #segmentAt(position: Lsn): Segment | undefined {
    const holds = (segment: Segment | undefined): segment is Segment =>
      segment !== undefined && segment.header.start <= position && position < segment.end
    for (const index of [this.#current, this.#current + 1]) {
      const segment = this.segments[index]
      if (holds(segment)) {
        this.#use(index)
        return segment
      }
    }
    const index = this.segments.findIndex(holds)
    if (index < 0) return undefined
    this.#use(index)
    return this.segments[index]
  }

  #use(index: number): void {
    if (index === this.#current) return
    this.close()
    this.#current = index
  }

  #open(segment: Segment): FileHandle {
    if (this.#handle !== undefined) return this.#handle
    try {
      this.#handle = this.#options.files.open(segment.path, { readOnly: true })
    } catch (error) {
      if (isHyphaError(error, 'HYPHA_NOT_FOUND')) throw this.#absent(segment.header.start)
      throw error
    }
    return this.#handle
  }

  #absent(position: Lsn): HyphaError {
    const code = this.#options.missing ?? 'HYPHA_CORRUPT'
    const has = this.segments.length === 0 ? 'it is empty' : `it has ${this.start} to ${this.end}`
    const advice =
      code === 'HYPHA_CORRUPT'
        ? "a segment is missing: run 'hypha verify', and restore from a backup"
        : 'start again from a snapshot'
    return new HyphaError(code, `The log in ${this.directory} does not hold position ${position} (${has}); ${advice}`)
  }
}
