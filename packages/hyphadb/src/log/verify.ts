/**
 * Checks everything that the log holds from a position on, and lists all faults instead of stopping at the first: headers,
 * missing segments, records, sequences, operations. A torn end is no fault.
 *
 * The segments from there on fall into chains without a gap (one chain, in a sound log). Each chain is walked by itself;
 * behind a fault the walk goes on at the next sound record.
 */
import { HyphaError } from '../base/errors.js'
import { OperationDecoder } from './operation-decoder.js'
import type { EndReason } from './reader.js'
import {
  type Lsn,
  RECORD_CHECKPOINT,
  RECORD_COMMIT,
  RECORD_FRAGMENT,
  RECORD_PADDING,
  RECORD_STUB,
  RecordHeader,
} from './record.js'
import { RecordScanner, STEP_BAD, STEP_END, STEP_LIMIT, STEP_RECORD } from './record-scanner.js'
import { findRecord } from './record-search.js'
import { SegmentSource, type SegmentSourceOptions } from './segment-source.js'
import type { RunExtent } from './segments.js'

export interface LogFault {
  readonly file: string
  readonly offset: number
  /** Undefined when the fault is in a segment's header. */
  readonly position?: Lsn
  readonly message: string
}

export interface LogVerification {
  readonly faults: LogFault[]
  readonly records: number
  /** Bytes of sound records. */
  readonly bytes: number
  readonly end: { readonly position: Lsn; readonly reason: EndReason }
}

export interface VerifyLogOptions extends SegmentSourceOptions {
  /** A record's first byte: the oldest position that is needed. By default the first record in the oldest segment. */
  readonly from?: Lsn
  readonly durableThrough?: Lsn
  /** For a database in use: the durable position. */
  readonly limit?: Lsn
  /** Called now and then with the position reached and the last one possible: for a progress bar. */
  readonly onProgress?: (position: Lsn, end: Lsn) => void
}

export function verifyLog(options: VerifyLogOptions): LogVerification {
  return new LogVerifier(options).run()
}

interface Chain {
  readonly from: Lsn
  readonly to: Lsn
  readonly last: boolean
}

const RECORDS_PER_REPORT = 4096

class LogVerifier {
  readonly #options: VerifyLogOptions
  readonly #source: SegmentSource
  readonly #limit: Lsn
  /** A bad record before this position is a fault, whatever else is known. */
  readonly #known: Lsn
  readonly #faults: LogFault[] = []
  readonly #operations = new OperationDecoder()
  #records = 0
  #bytes = 0
  /** Sequence of the record before, or -1 after a gap. */
  #sequence = -1

  constructor(options: VerifyLogOptions) {
    this.#options = options
    this.#source = new SegmentSource(options)
    this.#limit = options.limit ?? Infinity
    this.#known = Math.max(options.durableThrough ?? 0, options.limit ?? 0)
  }

  run(): LogVerification {
    try {
      const from = this.#options.from
      for (const { path, error } of this.#faultsFrom(from))
        this.#faults.push({ file: path, offset: 0, message: error.message })
      let end: LogVerification['end'] = { position: from ?? this.#source.start, reason: 'clean' }
      for (const chain of this.#chains(from)) end = this.#walk(chain)
      if (end.position < this.#known && this.#faults.at(-1)?.position !== end.position) {
        this.#fault(end.position, `The log ends at ${end.position}, and is known to be durable up to ${this.#known}`)
      }
      return { faults: this.#faults, records: this.#records, bytes: this.#bytes, end }
    } finally {
      this.#source.close()
    }
  }

  #faultsFrom(from: Lsn | undefined): SegmentSource['faults'] {
    if (from === undefined) return this.#source.faults
    // Only where the segment that holds `from` is known can be told which ones lie before and are not needed.
    const first = this.#source.segments.find(({ header, end }) => header.start <= from && from < end)
    return this.#source.faults.filter(fault => first === undefined || fault.number > first.header.number)
  }

  /** Groups the segments from `from` on, and lists what is missing between them. */
  #chains(from: Lsn | undefined): Chain[] {
    const { segments } = this.#source
    const chains: Chain[] = []
    let start = from ?? -1
    let index = from === undefined ? 0 : segments.findIndex(({ end }) => end > from)
    if (index < 0) return []
    while (index < segments.length) {
      const first = segments[index]!
      // Behind a gap, and where only the oldest segment says where to begin, a record may reach in from before.
      if (start < first.header.start) {
        if (start >= 0) this.#missing(start, index)
        start = this.#firstRecordIn(first.header.start)
      }
      let to = first.end
      for (index++; index < segments.length && segments[index]!.header.start === to; index++) to = segments[index]!.end
      if (start >= 0) chains.push({ from: start, to, last: index >= segments.length })
      start = to
    }
    return chains
  }

  #missing(position: Lsn, index: number): void {
    const { segments, faults } = this.#source
    const { header, path } = segments[index]!
    const before = segments[index - 1]?.header.number ?? 0
    // It stands there, but its header cannot be read: that has been said.
    if (faults.some(fault => fault.number > before && fault.number < header.number)) return
    this.#faults.push({
      file: path,
      offset: 0,
      position,
      message: `Segments before this one are missing: the log has nothing from ${position} to ${header.start}`,
    })
  }

  #firstRecordIn(start: Lsn): Lsn {
    const run = this.#source.runAt(start)
    if (run === undefined) return -1
    if (start === run.base) return start
    return this.#find(run, start - 1, this.#source.contiguousEnd(start), -1, 0)
  }

  #find(run: RunExtent, after: Lsn, end: Lsn, durableBeyond: Lsn, sequenceFrom: number): Lsn {
    const limit = Math.min(end, this.#limit)
    return findRecord(this.#source, { after, run, limit, durableBeyond, sequenceFrom }, new RecordHeader())
  }

  #walk(chain: Chain): LogVerification['end'] {
    const scanner = new RecordScanner(this.#source, chain.from, Math.min(chain.to, this.#limit))
    this.#sequence = -1
    for (;;) {
      const step = scanner.step()
      const position = scanner.nextPosition
      if (step === STEP_RECORD) this.#check(scanner)
      else if (step === STEP_LIMIT) return { position, reason: position < chain.to ? 'limit' : 'clean' }
      else if (step === STEP_END) return { position, reason: 'clean' }
      else {
        const resume = this.#resume(scanner, chain, step === STEP_BAD)
        if (resume < 0) return { position, reason: scanner.atEndMark() ? 'clean' : 'torn' }
        scanner.seek(resume)
        this.#sequence = -1
      }
    }
  }

  /** Judges a bad or cut record as the reader does, and returns where to go on behind it; -1 at the chain's end. */
  #resume(scanner: RecordScanner, chain: Chain, bad: boolean): Lsn {
    const { nextPosition, run, sequence } = scanner
    if (run === undefined) return -1
    const next = this.#find(run, nextPosition, chain.to, -1, 0)
    const proven =
      run.closed ||
      nextPosition < this.#known ||
      (!chain.last && bad) ||
      this.#find(run, nextPosition, chain.to, nextPosition, sequence) >= 0
    // A record that the gap behind this chain cuts off is part of what has been listed as missing.
    if (!proven) return chain.last ? -1 : next
    this.#fault(nextPosition, 'No sound record begins here, and there was one')
    if (next >= 0) return next
    return run.closed && run.end < chain.to ? run.end : -1
  }

  #check(scanner: RecordScanner): void {
    const { record, position } = scanner
    this.#records++
    this.#bytes += record.total
    if (this.#records % RECORDS_PER_REPORT === 0) this.#options.onProgress?.(position, this.#source.end)
    const commits = record.type === RECORD_COMMIT || record.type === RECORD_STUB
    const expected = commits ? this.#sequence + 1 : this.#sequence
    if (this.#sequence >= 0 && record.sequence !== expected) {
      this.#fault(position, `Commit sequence ${record.sequence} stands where ${expected} belongs`)
    }
    this.#sequence = record.sequence
    if (record.type === RECORD_COMMIT || record.type === RECORD_FRAGMENT) this.#checkOperations(scanner)
    if (record.type === RECORD_PADDING) this.#checkPadding(scanner)
    if (record.type === RECORD_CHECKPOINT && record.checkpointPosition > position) {
      this.#fault(position, `A checkpoint record names position ${record.checkpointPosition}, which lies behind it`)
    }
  }

  #checkOperations(scanner: RecordScanner): void {
    const { record, bytes, position } = scanner
    try {
      this.#operations.reset(bytes, record.bodyStart, record.bodyEnd)
      while (this.#operations.next());
    } catch (error) {
      if (!(error instanceof HyphaError)) throw error
      this.#fault(position, error.message)
    }
  }

  #checkPadding(scanner: RecordScanner): void {
    const { record, bytes, position } = scanner
    for (let i = record.bodyStart; i < record.bodyEnd; i++) {
      if (bytes[i] === 0) continue
      this.#fault(position, 'Padding is not zero')
      return
    }
  }

  #fault(position: Lsn, message: string): void {
    this.#faults.push({ ...this.#source.placeOf(position), position, message })
  }
}
