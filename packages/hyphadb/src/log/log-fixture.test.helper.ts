/** What the tests of the log share: a log in a temporary directory, with or without several processes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HyphaError } from '../base/errors.js'
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
    const recovered = readAll(directory, {
      from,
      files,
      ...(options.durableThrough === undefined ? {} : { durableThrough: options.durableThrough }),
    })
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

/** A latch of one shared word that holds its owner's number: enough for tests, which say themselves who is dead. */
export class WordLatch implements LogLatch {
  constructor(
    readonly i32: Int32Array,
    readonly index: number,
    readonly owner: number,
  ) {}

  tryAcquire(): boolean {
    return Atomics.compareExchange(this.i32, this.index, 0, this.owner) === 0
  }

  acquire(timeoutMs: number): void {
    const deadline = performance.now() + timeoutMs
    while (!this.tryAcquire()) {
      if (performance.now() > deadline) throw new HyphaError('HYPHA_BUSY', 'the latch is held')
    }
  }

  release(): void {
    Atomics.compareExchange(this.i32, this.index, this.owner, 0)
  }

  /** The owner is known to be dead. */
  takeFrom(owner: number): void {
    Atomics.compareExchange(this.i32, this.index, owner, 0)
  }
}

const SHARED_RING_BYTES = 1 << 15
export const SHARED_BYTES = RING_OFFSET + SHARED_RING_BYTES
const WRITE_LATCH_I = 256
const ALLOCATION_LATCH_I = 272
const COMMIT_LATCH_I = 288
const SEQUENCE_F = 152

/** One of several processes on one log, in mapped memory. */
export class SharedLog {
  readonly ring: LogRing
  readonly writer: LogWriter
  readonly writeLatch: WordLatch
  readonly allocationLatch: WordLatch
  readonly commitLatch: WordLatch
  readonly #encoder = new OperationEncoder()
  readonly #views: Views

  constructor(
    memory: ArrayBuffer,
    readonly directory: string,
    readonly id: number,
    busyTimeoutMs = 10_000,
  ) {
    this.#views = viewsOf(memory)
    const { i32 } = this.#views
    this.ring = makeRing(SHARED_RING_BYTES, this.#views)
    this.writeLatch = new WordLatch(i32, WRITE_LATCH_I, id)
    this.allocationLatch = new WordLatch(i32, ALLOCATION_LATCH_I, id)
    this.commitLatch = new WordLatch(i32, COMMIT_LATCH_I, id)
    this.writer = new LogWriter({
      files: realFileSystem,
      directory,
      databaseId,
      ring: this.ring,
      writeLatch: this.writeLatch,
      allocationLatch: this.allocationLatch,
      busyTimeoutMs,
    })
  }

  begin(segmentBytes: number): void {
    const files = realFileSystem
    this.ring.begin(beginRun({ files, directory: this.directory, databaseId, base: 0, durableBefore: 0, segmentBytes }))
  }

  /** Commits a put whose table is this participant and whose key is a number. */
  commit(key: number, value: Uint8Array): number {
    const { ring, writer } = this
    const encoder = this.#encoder
    encoder.reset()
    encoder.put(this.id, Buffer.from(String(key)), value)
    encoder.seal()
    for (;;) {
      if (ring.freeSpace() < encoder.recordBytesMaximum) writer.write()
      writer.reserve(encoder.recordBytesMaximum)
      this.commitLatch.acquire(10_000)
      try {
        if (ring.freeSpace() < encoder.recordBytesMaximum || !writer.hasRoom(encoder.recordBytesMaximum)) continue
        const { f64 } = this.#views
        const sequence = (f64[SEQUENCE_F] as number) + 1
        const end = ring.tail + encoder.stageCommit(ring, ring.tail, sequence, 1)
        f64[SEQUENCE_F] = sequence
        ring.publishTail(end)
        return end
      } finally {
        this.commitLatch.release()
      }
    }
  }

  /** The participant `id` has died. */
  bury(id: number): void {
    for (const latch of [this.writeLatch, this.allocationLatch, this.commitLatch]) latch.takeFrom(id)
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
