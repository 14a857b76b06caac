/**
 * The log ring: the newest stretch of the log in shared memory, and the words that say how far each stage has come.
 *
 * Words, 128 bytes at `wordsOffset` (a multiple of 64):
 * | byte | type | word | who writes |
 * |---|---|---|---|
 * | 0 | f64 | tail: end of what is committed | holder of the commit latch |
 * | 8 | f64 | written: the segments hold everything before it | holder of the write latch |
 * | 16 | f64 | durable: everything before it is synced | anybody, upwards only (compare and exchange) |
 * | 24 | f64 | keepFrom: the ring must keep what repair still needs; +Infinity = nothing | holder of the commit latch |
 * | 32 | f64 | base: position of the run's first byte | who begins the run |
 * | 40 | f64 | allocatedEnd: segments are in place for everything before it | holder of the allocation latch |
 * | 48 | f64 | number of the run's first segment | who begins the run |
 * | 56 | f64 | payload bytes of a segment | who begins the run |
 * | 64 | i32 ×2 | salt of the run | who begins the run |
 * | 72 | i32 | tailSignal: bumped at each publication of the tail | holder of the commit latch |
 * | 76 | i32 | durableSignal: bumped when durable has risen | anybody |
 * | 80 | i32 | poison: 0, or why nothing is written any more (POISON_*) | who met the failure, once |
 * | 84..127 | | unused | |
 *
 * The byte of position p lies at ringOffset + p modulo the ring's size, a power of two.
 *
 * Invariants
 * 1. base <= durable <= written <= tail, and each grows only.
 * 2. The bytes of [min(written, keepFrom), tail) are in the ring and do not change. A stage call writes only what lies
 *    outside that stretch, so repair, a takeover of the write latch and salvage read what was committed.
 * 3. `written` and `durable` are always record boundaries, because they are taken from `tail`. So a durable position
 *    beyond the start of a record lies beyond its end.
 * 4. A transaction is committed by the store of `tail` and by nothing else.
 */
import { assert } from '../base/assert.js'
import { copyBytes } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import { readVarint, varintEnd } from '../base/varint.js'
import {
  decodeRecord,
  LENGTH_FIELD_BYTES_MAX,
  type Lsn,
  MAX_RECORD_BYTES,
  RECORD_BAD,
  type RecordHeader,
} from './record.js'

export const LOG_WORDS_BYTES_USED = 128

const TAIL = 0
const WRITTEN = 1
const DURABLE = 2
const KEEP_FROM = 3
const BASE = 4
const ALLOCATED_END = 5
const FIRST_SEGMENT = 6
const SEGMENT_PAYLOAD = 7
const SALT_LOW_I = 16
const SALT_HIGH_I = 17
const TAIL_SIGNAL_I = 18
const DURABLE_SIGNAL_I = 19
const POISON_WORD_I = 20

export const POISON_NONE = 0
export const POISON_WRITE_FAILED = 1
export const POISON_SYNC_FAILED = 2

/** Views of the mapped control segment; what the memory layer's ControlMemory offers. */
export interface LogMemory {
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly f64: Float64Array
  readonly buffer: Buffer
}

export interface RingPlace {
  /** Byte offset of the words. */
  readonly wordsOffset: number
  /** Byte offset of the ring. */
  readonly ringOffset: number
  /** A power of two. */
  readonly ringBytes: number
}

/** A stretch of log positions with its own salt, begun by a recovery. */
export interface Run {
  readonly base: Lsn
  readonly firstSegment: number
  readonly segmentPayload: number
  readonly saltLow: number
  readonly saltHigh: number
  /** End of the segments that are in place. */
  readonly allocatedEnd: Lsn
}

/** Exchanges of a float64 go by its bits; numbers from 0 up sort like their bits. */
const bitsScratch = new Float64Array(1)
const bitsScratchInteger = new BigInt64Array(bitsScratch.buffer)

/** On arm64 stores may overtake each other: an exchange on a private word keeps the ring's bytes before the tail. */
const needsFence = process.arch !== 'x64'
const fenceWord = new Int32Array(1)

export class LogRing {
  readonly memory: LogMemory
  readonly capacity: number
  /** The view that `view` made: `viewBytes[viewStart, viewStart + length)`. */
  viewBytes: Uint8Array
  viewStart = 0
  readonly #f64: Float64Array
  readonly #i32: Int32Array
  readonly #words: number
  readonly #words32: number
  readonly #ringOffset: number
  readonly #durableBits: BigInt64Array
  #scratch: Uint8Array = new Uint8Array(0)

  constructor(memory: LogMemory, place: RingPlace) {
    const { wordsOffset, ringOffset, ringBytes } = place
    assert(wordsOffset % 64 === 0 && ringOffset % 8 === 0, 'the words of the log are aligned')
    assert(ringBytes >= 4096 && (ringBytes & (ringBytes - 1)) === 0, 'the ring is a power of two')
    this.memory = memory
    this.capacity = ringBytes
    this.viewBytes = memory.u8
    this.#f64 = memory.f64
    this.#i32 = memory.i32
    this.#words = wordsOffset >>> 3
    this.#words32 = wordsOffset >>> 2
    this.#ringOffset = ringOffset
    const { buffer, byteOffset } = memory.buffer
    this.#durableBits = new BigInt64Array(buffer, byteOffset + wordsOffset + DURABLE * 8, 1)
  }

  /** Prepares the words for a new run, at whose start everything before is durable. Nobody else may use the ring yet. */
  begin(run: Run): void {
    const f64 = this.#f64
    const words = this.#words
    this.#i32.fill(0, this.#words32, this.#words32 + (LOG_WORDS_BYTES_USED >>> 2))
    f64[words + TAIL] = run.base
    f64[words + WRITTEN] = run.base
    f64[words + DURABLE] = run.base
    f64[words + KEEP_FROM] = Infinity
    f64[words + BASE] = run.base
    f64[words + ALLOCATED_END] = run.allocatedEnd
    f64[words + FIRST_SEGMENT] = run.firstSegment
    f64[words + SEGMENT_PAYLOAD] = run.segmentPayload
    this.#i32[this.#words32 + SALT_LOW_I] = run.saltLow
    this.#i32[this.#words32 + SALT_HIGH_I] = run.saltHigh
  }

  get tail(): Lsn {
    return this.#f64[this.#words + TAIL] as number
  }
  get written(): Lsn {
    return this.#f64[this.#words + WRITTEN] as number
  }
  get durable(): Lsn {
    return this.#f64[this.#words + DURABLE] as number
  }
  get keepFrom(): Lsn {
    return this.#f64[this.#words + KEEP_FROM] as number
  }
  get base(): Lsn {
    return this.#f64[this.#words + BASE] as number
  }
  get allocatedEnd(): Lsn {
    return this.#f64[this.#words + ALLOCATED_END] as number
  }
  get firstSegment(): number {
    return this.#f64[this.#words + FIRST_SEGMENT] as number
  }
  get segmentPayload(): number {
    return this.#f64[this.#words + SEGMENT_PAYLOAD] as number
  }
  get saltLow(): number {
    return this.#i32[this.#words32 + SALT_LOW_I] as number
  }
  get saltHigh(): number {
    return this.#i32[this.#words32 + SALT_HIGH_I] as number
  }
  get poison(): number {
    return Atomics.load(this.#i32, this.#words32 + POISON_WORD_I)
  }
  /** Int32 index of the word to sleep on for commits. */
  get tailSignalIndex(): number {
    return this.#words32 + TAIL_SIGNAL_I
  }
  /** Int32 index of the word to sleep on for durability. */
  get durableSignalIndex(): number {
    return this.#words32 + DURABLE_SIGNAL_I
  }

  /** Number of the segment that holds the byte at `position`. */
  segmentOf(position: Lsn): number {
    return this.firstSegment + Math.floor((position - this.base) / this.segmentPayload)
  }

  /** Position of a segment's first byte. */
  segmentStart(segment: number): Lsn {
    return this.base + (segment - this.firstSegment) * this.segmentPayload
  }

  /**
   * Bytes that may be staged at the tail. One byte is always left, so that an end mark fits behind the last record.
   * Requires the commit latch, or the answer is a guess.
   */
  freeSpace(): number {
    const written = this.written
    const keepFrom = this.keepFrom
    return this.capacity - 1 - (this.tail - (keepFrom < written ? keepFrom : written))
  }

  /**
   * Copies `bytes[start, end)` to `position` and puts an end mark (a length of 0) behind, without moving the tail.
   * Requires the commit latch and free space.
   */
  stage(position: Lsn, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start
    assert(position === this.tail && length <= this.freeSpace(), 'records are staged at the tail, into free space')
    const u8 = this.memory.u8
    const offset = this.#offsetOf(position)
    const contiguous = this.#ringOffset + this.capacity - offset
    if (length < contiguous) {
      copyBytes(bytes, start, u8, offset, length)
      u8[offset + length] = 0
      return
    }
    copyBytes(bytes, start, u8, offset, contiguous)
    copyBytes(bytes, start + contiguous, u8, this.#ringOffset, length - contiguous)
    u8[this.#ringOffset + length - contiguous] = 0
  }

  /** The commit point. Requires the commit latch; everything up to `position` has been staged. */
  publishTail(position: Lsn): void {
    if (needsFence) Atomics.exchange(fenceWord, 0, 0)
    this.#f64[this.#words + TAIL] = position
    Atomics.add(this.#i32, this.#words32 + TAIL_SIGNAL_I, 1)
  }

  /** Keeps [position, tail) in the ring for repair; +Infinity: nothing. Requires the commit latch. */
  setKeepFrom(position: Lsn): void {
    this.#f64[this.#words + KEEP_FROM] = position
  }

  /** Requires the write latch; the bytes before `position` are in the segments. */
  advanceWritten(position: Lsn): void {
    assert(position >= this.written && position <= this.tail, 'the written position grows, up to the tail')
    Atomics.exchange(fenceWord, 0, 0)
    this.#f64[this.#words + WRITTEN] = position
  }

  /** Requires the allocation latch; the segments up to `position` are in place and durable. */
  advanceAllocatedEnd(position: Lsn): void {
    assert(position >= this.allocatedEnd, 'the allocated end grows')
    Atomics.exchange(fenceWord, 0, 0)
    this.#f64[this.#words + ALLOCATED_END] = position
  }

  /**
   * Raises the durable position; a lower one changes nothing. Needs no latch, and whoever dies in it leaves the old or
   * the new value: a compare-and-exchange of the number's bits, tried again while what stands is lower.
   */
  raiseDurable(position: Lsn): void {
    assert(position <= this.written, 'what is durable has been written')
    const bits = this.#durableBits
    let raised = false
    let standing = Atomics.load(bits, 0)
    for (;;) {
      bitsScratchInteger[0] = standing
      if (bitsScratch[0]! >= position) break
      bitsScratch[0] = position
      const seen = Atomics.compareExchange(bits, 0, standing, bitsScratchInteger[0]!)
      if (seen === standing) {
        raised = true
        break
      }
      standing = seen
    }
    if (raised) Atomics.add(this.#i32, this.#words32 + DURABLE_SIGNAL_I, 1)
  }

  /** Nothing is written any more, by anybody, until the database is opened anew. The first reason stands. */
  setPoison(reason: number): void {
    Atomics.compareExchange(this.#i32, this.#words32 + POISON_WORD_I, POISON_NONE, reason)
  }

  /** For salvage, when nobody else has the ring any more: opening anew is what gives the disk another chance. */
  clearPoison(): void {
    Atomics.store(this.#i32, this.#words32 + POISON_WORD_I, POISON_NONE)
  }

  /** Throws HYPHA_POISONED after a failed write or sync. */
  checkPoison(): void {
    const reason = this.poison
    if (reason === POISON_NONE) return
    const what = reason === POISON_SYNC_FAILED ? 'sync' : 'write'
    throw new HyphaError(
      'HYPHA_POISONED',
      `A ${what} of the log failed earlier, so nothing more is written. Mend the disk, close the database everywhere, and open it again`,
    )
  }

  /**
   * Presents [position, position + length) as one stretch: `viewBytes` from `viewStart`. It is the ring itself, or a copy
   * when the stretch wraps around the end; valid until the next call. The caller sees to it that the stretch is kept.
   */
  view(position: Lsn, length: number): void {
    const offset = this.#offsetOf(position)
    const contiguous = this.#ringOffset + this.capacity - offset
    if (length <= contiguous) {
      this.viewBytes = this.memory.u8
      this.viewStart = offset
      return
    }
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(Math.max(length, 4096))
    copyBytes(this.memory.u8, offset, this.#scratch, 0, contiguous)
    copyBytes(this.memory.u8, this.#ringOffset, this.#scratch, contiguous, length - contiguous)
    this.viewBytes = this.#scratch
    this.viewStart = 0
  }

  /**
   * Decodes the record at `position`, which lies in [min(written, keepFrom), tail); `viewBytes` then holds it, at the
   * offsets in `out`. Returns its length, or RECORD_BAD.
   */
  readRecord(position: Lsn, out: RecordHeader): number {
    const available = this.tail - position
    if (available <= 0 || available > this.capacity) return RECORD_BAD
    this.view(position, Math.min(available, LENGTH_FIELD_BYTES_MAX))
    const length = readVarint(
      this.viewBytes,
      this.viewStart,
      this.viewStart + Math.min(available, LENGTH_FIELD_BYTES_MAX),
    )
    if (length < 0) return RECORD_BAD
    const total = varintEnd - this.viewStart + length
    if (total > available || total > MAX_RECORD_BYTES) return RECORD_BAD
    this.view(position, total)
    const result = decodeRecord(
      this.viewBytes,
      this.viewStart,
      this.viewStart + total,
      position,
      this.saltLow,
      this.saltHigh,
      out,
    )
    return result === total ? total : RECORD_BAD
  }

  /** Bytes from `position` to the ring's end: as much as lies in one piece. */
  contiguousFrom(position: Lsn): number {
    return this.#ringOffset + this.capacity - this.#offsetOf(position)
  }

  /** Offset of a position's byte in the control memory. */
  offsetOf(position: Lsn): number {
    return this.#offsetOf(position)
  }

  #offsetOf(position: Lsn): number {
    // Exact for a power of two; the remainder operator of doubles is a call.
    return this.#ringOffset + (position - Math.floor(position / this.capacity) * this.capacity)
  }
}
