/** What the tests of the log share: a log in a temporary directory, with or without several processes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SeededRandom } from '../base/random.js'
import type { FileSystem } from '../os/file-system.js'
import { realFileSystem } from '../os/real-file-system.js'
import { OperationDecoder } from './operation-decoder.js'
import { OperationEncoder } from './operation-encoder.js'
import { LogReader, type LogReaderOptions } from './reader.js'
import { LogRing } from './ring.js'
import { beginRun } from './run.js'
import type { LogLatch } from './segment-allocator.js'
import { LogWriter } from './writer.js'

export const databaseId = Uint8Array.from({ length: 16 }, (_, i) => i + 1)
export const noLatch: LogLatch = { tryAcquire: () => true, acquire: () => {}, release: () => {} }

export interface Views {
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly f64: Float64Array
  readonly buffer: Buffer
}

export function viewsOf(bytes: ArrayBuffer | SharedArrayBuffer): Views {
  return {
    u8: new Uint8Array(bytes),
    i32: new Int32Array(bytes),
    f64: new Float64Array(bytes),
    buffer: Buffer.from(bytes as ArrayBuffer),
  }
}

export const WORDS_OFFSET = 64
export const RING_OFFSET = 4096

export function makeRing(ringBytes: number, views = viewsOf(new ArrayBuffer(RING_OFFSET + ringBytes))): LogRing {
  return new LogRing(views, { wordsOffset: WORDS_OFFSET, ringOffset: RING_OFFSET, ringBytes })
}

export interface LogOptions {
  segmentBytes?: number
  ringBytes?: number
  files?: FileSystem
  durableThrough?: number
  from?: number
  sparesMax?: number
}

/** One open log: recovery, then appending, as the engine does it. */
export class TestLog {
  readonly ring: LogRing
  readonly writer: LogWriter
  readonly encoder = new OperationEncoder()
  /** Commit sequence of the last record. */
  sequence: number

  constructor(
    readonly directory: string,
    options: LogOptions = {},
  ) {
    const files = options.files ?? realFileSystem
    files.makeDirectory(directory)
    const from = options.from ?? 0
    const recovered = readAll(directory, { from, files, ...(options.durableThrough === undefined ? {} : { durableThrough: options.durableThrough }) })
    this.sequence = recovered.records.at(-1)?.sequence ?? 0
    this.ring = makeRing(options.ringBytes ?? 1 << 16)
    this.ring.begin(
      beginRun({
        files,
        directory,
        databaseId,
        base: recovered.end,
        durableBefore: from,
        segmentBytes: options.segmentBytes ?? 16384,
      }),
    )
    this.writer = new LogWriter({
      files,
      directory,
      databaseId,
      ring: this.ring,
      writeLatch: noLatch,
      allocationLatch: noLatch,
      ...(options.sparesMax === undefined ? {} : { sparesMax: options.sparesMax }),
    })
  }

  /** Commits what `fill` puts into the encoder; returns the position behind it. Not written yet. */
  commit(fill: (encoder: OperationEncoder) => void, timestamp = 1_700_000_000_000): number {
    const { encoder, ring, writer } = this
    encoder.reset()
    fill(encoder)
    encoder.seal()
    if (ring.freeSpace() < encoder.recordBytesMaximum) writer.write()
    writer.reserve(encoder.recordBytesMaximum)
    const position = ring.tail
    const total = encoder.stageCommit(ring, position, ++this.sequence, timestamp)
    ring.publishTail(position + total)
    return position + total
  }

  /** A commit of one put of random bytes. */
  put(random: SeededRandom, valueBytes: number): number {
    const value = random.bytes(valueBytes)
    return this.commit(encoder => encoder.put(1, Buffer.from(`key-${this.sequence}`), value))
  }

  close(): Promise<void> {
    return this.writer.close()
  }
}

export interface ReadRecord {
  position: number
  total: number
  type: number
  sequence: number
  durable: number
  operations: { opcode: number; tableId: number; derived: boolean; key: Buffer; value: Buffer; expiry: number }[]
}

export interface ReadLog {
  records: ReadRecord[]
  end: number
  reason: string
}

/** Reads a whole log. */
export function readAll(directory: string, options: Partial<LogReaderOptions> = {}): ReadLog {
  const reader = new LogReader({ files: realFileSystem, directory, databaseId, from: 0, ...options })
  const decoder = new OperationDecoder()
  const records: ReadRecord[] = []
  try {
    while (reader.next()) {
      const { record, bytes } = reader
      const operations: ReadRecord['operations'] = []
      decoder.reset(bytes, record.bodyStart, record.bodyEnd)
      while (decoder.next()) {
        operations.push({
          opcode: decoder.opcode,
          tableId: decoder.tableId,
          derived: decoder.derived,
          key: Buffer.from(bytes.subarray(decoder.keyStart, decoder.keyEnd)),
          value: Buffer.from(bytes.subarray(decoder.valueStart, decoder.valueEnd)),
          expiry: decoder.expiry,
        })
      }
      const { total, type, sequence, durable } = record
      records.push({ position: reader.position, total, type, sequence, durable, operations })
    }
    return { records, end: reader.end!.position, reason: reader.end!.reason }
  } finally {
    reader.close()
  }
}

const made: string[] = []

export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'hyphadb-log-'))
  made.push(path)
  return path
}

export function removeTemporaryDirectories(): void {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true })
}
