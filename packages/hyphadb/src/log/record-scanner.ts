/**
 * Steps from record to record through a SegmentSource, without judging what stops it: under the reader and under verify.
 * Keeps one window of a chunk, grown while a single record is longer. One thread.
 */
import { decodeRecord, type Lsn, MAX_RECORD_BYTES, RECORD_CUT, RecordHeader } from './record.js'
import type { SegmentSource } from './segment-source.js'
import type { RunExtent } from './segments.js'

export const DEFAULT_CHUNK_BYTES = 1 << 20
const MIN_CHUNK_BYTES = 4096

/** `step` came to a record. */
export const STEP_RECORD = 1
/** What begins at `nextPosition` is no record. */
export const STEP_BAD = 2
/** What begins there could be one, but segments or limit end before it does. */
export const STEP_CUT = 3
/** The limit is reached. */
export const STEP_LIMIT = 4
/** There is no segment for `nextPosition`. */
export const STEP_END = 5
export type Step = 1 | 2 | 3 | 4 | 5

export class RecordScanner {
  readonly record = new RecordHeader()
  /** Where the record begins that `step` came to. */
  position: Lsn = 0
  /** Where the next one does. */
  nextPosition: Lsn = 0
  /** Holds the record's body until the next step. */
  bytes: Buffer
  /** Sequence of the last record, 0 before the first. */
  sequence = 0
  limit: Lsn
  readonly #source: SegmentSource
  readonly #chunkBytes: number
  /** Offset of `nextPosition` in the window, and the end of what the window holds. */
  #at = 0
  #filled = 0
  #run: RunExtent | undefined

  constructor(source: SegmentSource, from: Lsn, limit: Lsn, chunkBytes = DEFAULT_CHUNK_BYTES) {
    this.#source = source
    this.#chunkBytes = Math.max(chunkBytes, MIN_CHUNK_BYTES)
    this.bytes = Buffer.allocUnsafeSlow(this.#chunkBytes)
    this.limit = limit
    this.seek(from)
  }

  /** The run in which the next record would be. */
  get run(): RunExtent | undefined {
    return this.#run
  }

  /** Goes on at `position`; also needed after the source was refreshed. */
  seek(position: Lsn): void {
    this.nextPosition = position
    this.#at = 0
    this.#filled = 0
    this.#run = this.#source.runAt(position)
  }

  step(): Step {
    for (;;) {
      const run = this.#run
      if (this.nextPosition >= this.limit) return STEP_LIMIT
      if (run === undefined) return STEP_END
      const total = decodeRecord(
        this.bytes,
        this.#at,
        this.#filled,
        this.nextPosition,
        run.saltLow,
        run.saltHigh,
        this.record,
      )
      if (total > 0) {
        this.#accept(run, total)
        return STEP_RECORD
      }
      if (total !== RECORD_CUT) return STEP_BAD
      if (!this.#fill(run)) return STEP_CUT
    }
  }

  /** True where the next record would begin with a length of 0, or nothing is there. */
  atEndMark(): boolean {
    if (this.#run === undefined) return true
    this.record.total = 0
    if (this.#at >= this.#filled && !this.#fill(this.#run)) return true
    return this.bytes[this.#at] === 0
  }

  #accept(run: RunExtent, total: number): void {
    this.position = this.nextPosition
    this.nextPosition += total
    this.#at += total
    this.sequence = this.record.sequence
    if (this.nextPosition >= run.end) this.#run = this.#source.runAt(this.nextPosition)
  }

  /** Reads on until the record that was cut has what it needs; false when there is not so much. */
  #fill(run: RunExtent): boolean {
    const have = this.#filled - this.#at
    const available = Math.min(run.end, this.limit) - this.nextPosition
    const needed = this.record.total === 0 ? have + 1 : this.record.total
    if (needed > available || needed > MAX_RECORD_BYTES) return false
    this.#makeRoom(needed)
    const length = Math.min(this.bytes.length - this.#filled, available - have)
    const got = this.#source.read(this.nextPosition + have, this.bytes, this.#filled, length)
    this.#filled += got
    return got > 0
  }

  /** Moves the rest of the window to its start, in a larger buffer when one record asks for it. */
  #makeRoom(needed: number): void {
    const rest = this.#filled - this.#at
    const size = Math.max(this.#chunkBytes, needed)
    if (size > this.bytes.length || this.bytes.length > 4 * size) {
      const buffer = Buffer.allocUnsafeSlow(size)
      this.bytes.copy(buffer, 0, this.#at, this.#filled)
      this.bytes = buffer
    } else {
      this.bytes.copyWithin(0, this.#at, this.#filled)
    }
    this.#filled = rest
    this.#at = 0
  }
}
