/**
 * Reads the log in order, for recovery, replay and tailing.
 *
 * Use: `while (reader.next()) …` with `reader.record`, whose body is `reader.bytes[bodyStart, bodyEnd)` until the next
 * call; then `reader.end` says why it stopped. Damage is thrown as HYPHA_CORRUPT, naming file and offset.
 *
 * What a bad record means:
 *   the run has a successor, which declares its end          -> damage: all of it was whole when the successor began
 *   it lies before what is known to be durable               -> damage
 *   a sound record of the same run behind it was appended
 *     when the durable position lay beyond the bad one       -> damage
 *   else                                                     -> the end: clean where an end mark stands, else torn
 * Unsynced records may reach the disk in any order, so a sound record behind a bad one alone proves nothing.
 */
import { HyphaError } from '../base/errors.js'
import { type Lsn, RecordHeader } from './record.js'
import { RecordScanner, STEP_END, STEP_LIMIT, STEP_RECORD } from './record-scanner.js'
import { findRecord } from './record-search.js'
import { SegmentSource, type SegmentSourceOptions } from './segment-source.js'

export interface LogReaderOptions extends SegmentSourceOptions {
  /** Position of a record's first byte. */
  readonly from: Lsn
  /** The log is known to be durable up to here, by the superblock or the region: an earlier end is damage. */
  readonly durableThrough?: Lsn
  /** Reads no further (the durable position, for a consumer that tails); a bad record before it is damage. */
  readonly limit?: Lsn
  /** A clean close said that the log ends here: then what lies behind is not searched. */
  readonly cleanEnd?: Lsn
  readonly chunkBytes?: number
}

/** `limit`: read up to the limit. `clean`: an end mark. `torn`: a record that was being written. */
export type EndReason = 'limit' | 'clean' | 'torn'

export interface LogEnd {
  readonly reason: EndReason
  readonly position: Lsn
  readonly file: string
  readonly offset: number
}

export class LogReader {
  /** Set when `next` has said false. */
  end: LogEnd | undefined
  readonly source: SegmentSource
  readonly #options: LogReaderOptions
  readonly #scanner: RecordScanner

  constructor(options: LogReaderOptions) {
    this.#options = options
    this.source = new SegmentSource(options)
    try {
      this.source.requireFrom(options.from)
    } catch (error) {
      this.source.close()
      throw error
    }
    this.#scanner = new RecordScanner(this.source, options.from, options.limit ?? Infinity, options.chunkBytes)
  }

  /** The record that `next` came to. */
  get record(): RecordHeader {
    return this.#scanner.record
  }

  /** Holds the record's body. */
  get bytes(): Buffer {
    return this.#scanner.bytes
  }

  /** Where the record begins. */
  get position(): Lsn {
    return this.#scanner.position
  }

  /** Where the next one would begin: the log's end, once `next` has said false. */
  get nextPosition(): Lsn {
    return this.#scanner.nextPosition
  }

  close(): void {
    this.source.close()
  }

  /** Lets a reader that tails go on, up to a higher limit. */
  raiseLimit(limit: Lsn): void {
    const scanner = this.#scanner
    if (limit <= scanner.limit) return
    // Beyond the old limit nothing was read; what has been put in place since is new to the source.
    if (limit > this.source.end) {
      this.source.refresh()
      this.source.requireFrom(scanner.nextPosition)
    }
    scanner.limit = limit
    scanner.seek(scanner.nextPosition)
    this.end = undefined
  }

  /** Moves to the next record; false at the end. */
  next(): boolean {
    if (this.end !== undefined) return false
    const step = this.#scanner.step()
    if (step === STEP_RECORD) return true
    if (step === STEP_LIMIT) return this.#stop('limit')
    return this.#judge(step === STEP_END)
  }

  /** Nothing sound begins at `nextPosition`: the end, or damage? */
  #judge(noSegment: boolean): false {
    const { run, nextPosition, sequence, limit } = this.#scanner
    if (run?.closed === true) throw this.#damage(`the log went on to ${run.end} when a later run began`)
    const known = Math.max(this.#options.durableThrough ?? 0, this.#options.limit === undefined ? 0 : limit)
    if (nextPosition < known) throw this.#damage(`the log is known to be durable up to ${known}`)
    if (noSegment || run === undefined) return this.#stop('clean')
    const mark = this.#scanner.atEndMark()
    if (mark && this.#options.cleanEnd === nextPosition) return this.#stop('clean')
    const later = new RecordHeader()
    const found = findRecord(
      this.source,
      { after: nextPosition, run, limit, durableBeyond: nextPosition, sequenceFrom: sequence },
      later,
    )
    if (found >= 0)
      throw this.#damage(`the record at ${found} knew that everything before ${later.durable} was durable`)
    return this.#stop(mark ? 'clean' : 'torn')
  }

  #stop(reason: EndReason): false {
    const { file, offset } = this.source.placeOf(this.nextPosition)
    this.end = { reason, position: this.nextPosition, file, offset }
    this.source.close()
    return false
  }

  #damage(why: string): HyphaError {
    const { file, offset } = this.source.placeOf(this.nextPosition)
    this.source.close()
    return new HyphaError(
      'HYPHA_CORRUPT',
      `Log segment ${file} is damaged at offset ${offset} (position ${this.nextPosition}): ${why}. Run 'hypha verify', and restore from a backup`,
    )
  }
}
