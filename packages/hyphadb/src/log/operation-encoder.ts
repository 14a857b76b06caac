/**
 * Builds the record of a transaction. Operations are encoded and their checksum is computed without any latch; what needs
 * the latch (sequence, position, durable position, the header's checksum, the copy into the ring) is `stage…`, which
 * allocates nothing and costs a fraction of a microsecond for a short record.
 *
 * Use: reset, put and delete as often as needed, seal; then under the commit latch a stage call. One encoder per thread,
 * used again and again. Not thread-safe.
 *
 * Scratch: [headroom][operations]. The header is written so that it ends where the operations begin, whatever its length,
 * and the record goes into the ring in one copy.
 */
import { assert } from '../base/assert.js'
import { copyBytes } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import { varintLength, writeVarint } from '../base/varint.js'
import {
  OPERATION_DELETE,
  OPERATION_DERIVED,
  OPERATION_EXPIRES,
  OPERATION_PUT,
  OPERATION_PUT_BEGIN,
  OPERATION_PUT_CONTINUE,
} from './operation-decoder.js'
import {
  CHECKSUM_BYTES,
  DEPENDENCY_BYTES_MAX,
  FLAG_FRAGMENTED,
  HEADER_BYTES_MAX,
  type Lsn,
  MAX_RECORD_BYTES,
  ORIGIN_DEPENDENCIES,
  ORIGIN_ID,
  ORIGIN_SEQUENCE,
  type OriginFields,
  originLength,
  RECORD_CHECKPOINT,
  RECORD_COMMIT,
  RECORD_FRAGMENT,
  RECORD_MARKER,
  RECORD_PADDING,
  RECORD_STUB,
  writeOrigin,
} from './record.js'
import { bodyChecksum, recordChecksum } from './record-checksum.js'
import type { LogRing } from './ring.js'

const INITIAL_BYTES = 4096
/** A scratch buffer that one large transaction has grown beyond this is given back at the next reset. */
const KEPT_BYTES_MAX = 4 << 20
/** Opcode, table id, expiry, three lengths. */
const OPERATION_OVERHEAD_MAX = 1 + 5 * 8

const EMPTY_BODY_CHECKSUM = 0

export class OperationEncoder {
  #scratch: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  /** Where the operations begin. */
  #bodyStart = HEADER_BYTES_MAX
  #end = HEADER_BYTES_MAX
  #count = 0
  #bodyChecksum = EMPTY_BODY_CHECKSUM
  #sealed = true
  readonly #origin: OriginFields = {
    flags: 0,
    id: 0,
    sequence: 0,
    dependencyCount: 0,
    dependencies: new Float64Array(16),
  }
  #originLength = 1

  /** Bytes of operations so far. */
  get length(): number {
    return this.#end - this.#bodyStart
  }

  /** Operations so far. */
  get count(): number {
    return this.#count
  }

  /** The record will not be longer than this: what to ask the ring and the writer for. */
  get recordBytesMaximum(): number {
    return this.#headroomNeeded() + this.length
  }

  /** Begins a new record, of local origin. */
  reset(): void {
    if (this.#scratch.length > KEPT_BYTES_MAX) this.#scratch = Buffer.allocUnsafeSlow(INITIAL_BYTES)
    this.#origin.flags = 0
    this.#origin.dependencyCount = 0
    this.#originLength = 1
    this.#bodyStart = HEADER_BYTES_MAX
    this.clearOperations()
  }

  /** Drops the operations and keeps the origin: between the fragments of one transaction. */
  clearOperations(): void {
    this.#end = this.#bodyStart
    this.#count = 0
    this.#bodyChecksum = EMPTY_BODY_CHECKSUM
    this.#sealed = true
  }

  put(tableId: number, key: Uint8Array, value: Uint8Array, derived = false, expiry = 0): void {
    this.#reserve(OPERATION_OVERHEAD_MAX + key.length + value.length)
    const at = this.#writeKey(OPERATION_PUT, tableId, key, derived, expiry)
    this.#writeValue(at, value)
  }

  delete(tableId: number, key: Uint8Array, derived = false): void {
    this.#reserve(OPERATION_OVERHEAD_MAX + key.length)
    this.#finish(this.#writeKey(OPERATION_DELETE, tableId, key, derived, 0))
  }

  /** A put whose value of `valueTotal` bytes comes in parts; the rest follows by `continueValue`. */
  beginValue(
    tableId: number,
    key: Uint8Array,
    valueTotal: number,
    firstPart: Uint8Array,
    derived = false,
    expiry = 0,
  ): void {
    assert(firstPart.length <= valueTotal, 'a part is no longer than the value')
    this.#reserve(OPERATION_OVERHEAD_MAX + key.length + firstPart.length)
    const at = this.#writeKey(OPERATION_PUT_BEGIN, tableId, key, derived, expiry)
    this.#writeValue(writeVarint(this.#scratch, at, valueTotal), firstPart)
  }

  continueValue(part: Uint8Array): void {
    this.#reserve(OPERATION_OVERHEAD_MAX + part.length)
    this.#scratch[this.#end] = OPERATION_PUT_CONTINUE
    this.#writeValue(this.#end + 1, part)
  }

  /**
   * Says where the change comes from. `id` undefined: this node, whose own `sequence` and dependencies may still be given.
   * `dependencies`: pairs of origin id and sequence, `dependencyCount` of them. Copied.
   */
  setOrigin(
    id: number | undefined,
    sequence: number | undefined,
    dependencies?: Float64Array,
    dependencyCount = dependencies === undefined ? 0 : dependencies.length >>> 1,
  ): void {
    const origin = this.#origin
    origin.flags =
      (id === undefined ? 0 : ORIGIN_ID) |
      (sequence === undefined ? 0 : ORIGIN_SEQUENCE) |
      (dependencyCount === 0 ? 0 : ORIGIN_DEPENDENCIES)
    origin.id = id ?? 0
    origin.sequence = sequence ?? 0
    origin.dependencyCount = dependencyCount
    if (dependencies !== undefined && dependencyCount > 0) {
      if (origin.dependencies.length < 2 * dependencyCount) origin.dependencies = new Float64Array(2 * dependencyCount)
      for (let i = 0; i < 2 * dependencyCount; i++) origin.dependencies[i] = dependencies[i]!
    }
    this.#originLength = originLength(origin)
    this.#makeHeadroom()
  }

  /** Computes the checksum of the operations: the part of the work that is long and needs no latch. */
  seal(): void {
    if (this.#sealed) return
    this.#bodyChecksum = bodyChecksum(this.#scratch, this.#bodyStart, this.#end)
    this.#sealed = true
  }

  /**
   * Stages a commit at `position`, which is the ring's tail; returns the record's length. The commit happens when the
   * caller publishes position + length as the new tail. Requires the commit latch and `recordBytesMaximum` of free space.
   */
  stageCommit(ring: LogRing, position: Lsn, sequence: number, timestamp: number): number {
    const distance = position - ring.durable
    const fields = 2 + varintLength(sequence) + varintLength(distance) + varintLength(timestamp) + this.#originLength
    let at = this.#beginHeader(RECORD_COMMIT, fields, sequence, distance)
    at = writeVarint(this.#scratch, at, timestamp)
    writeOrigin(this.#scratch, at, this.#origin)
    return this.#stage(ring, position, fields, this.#end)
  }

  /** As stageCommit, of the last record of a transaction whose earlier fragments are in the log. */
  stageLastFragment(
    ring: LogRing,
    position: Lsn,
    sequence: number,
    timestamp: number,
    transactionId: number,
    fragmentCount: number,
    firstFragment: Lsn,
  ): number {
    assert(fragmentCount > 0 && firstFragment < position, 'fragments lie before their commit')
    const distance = position - ring.durable
    const back = position - firstFragment
    const fields =
      2 +
      varintLength(sequence) +
      varintLength(distance) +
      varintLength(timestamp) +
      this.#originLength +
      varintLength(transactionId) +
      varintLength(fragmentCount) +
      varintLength(back)
    let at = this.#beginHeader(RECORD_COMMIT | FLAG_FRAGMENTED, fields, sequence, distance)
    at = writeVarint(this.#scratch, at, timestamp)
    at = writeOrigin(this.#scratch, at, this.#origin)
    at = writeVarint(this.#scratch, at, transactionId)
    at = writeVarint(this.#scratch, at, fragmentCount)
    writeVarint(this.#scratch, at, back)
    return this.#stage(ring, position, fields, this.#end)
  }

  /** `sequence`: the newest commit before it. */
  stageFragment(ring: LogRing, position: Lsn, sequence: number, transactionId: number, fragmentIndex: number): number {
    const distance = position - ring.durable
    const fields =
      2 + varintLength(sequence) + varintLength(distance) + varintLength(transactionId) + varintLength(fragmentIndex)
    let at = this.#beginHeader(RECORD_FRAGMENT, fields, sequence, distance)
    at = writeVarint(this.#scratch, at, transactionId)
    writeVarint(this.#scratch, at, fragmentIndex)
    return this.#stage(ring, position, fields, this.#end)
  }

  /** A commit without operations here. The encoder's operations are left out and left alone. */
  stageStub(ring: LogRing, position: Lsn, sequence: number, timestamp: number): number {
    const distance = position - ring.durable
    const fields = 2 + varintLength(sequence) + varintLength(distance) + varintLength(timestamp) + this.#originLength
    let at = this.#beginHeader(RECORD_STUB, fields, sequence, distance)
    at = writeVarint(this.#scratch, at, timestamp)
    writeOrigin(this.#scratch, at, this.#origin)
    return this.#stage(ring, position, fields, this.#bodyStart)
  }

  /** The checkpoint of `epoch`, taken at log position `checkpointPosition`, is complete and durable. */
  stageCheckpoint(
    ring: LogRing,
    position: Lsn,
    sequence: number,
    timestamp: number,
    epoch: number,
    checkpointPosition: Lsn,
  ): number {
    const distance = position - ring.durable
    const fields =
      2 +
      varintLength(sequence) +
      varintLength(distance) +
      varintLength(timestamp) +
      varintLength(epoch) +
      varintLength(checkpointPosition)
    let at = this.#beginHeader(RECORD_CHECKPOINT, fields, sequence, distance)
    at = writeVarint(this.#scratch, at, timestamp)
    at = writeVarint(this.#scratch, at, epoch)
    writeVarint(this.#scratch, at, checkpointPosition)
    return this.#stage(ring, position, fields, this.#bodyStart)
  }

  /**
   * A record that carries nothing but the durable position known now. After the last sync of an idle database it attests
   * that everything before is on disk, so that a fault there is told from a torn end.
   */
  stagePadding(ring: LogRing, position: Lsn, sequence: number): number {
    const distance = position - ring.durable
    const fields = 2 + varintLength(sequence) + varintLength(distance)
    this.#beginHeader(RECORD_PADDING, fields, sequence, distance)
    return this.#stage(ring, position, fields, this.#bodyStart)
  }

  /** Writes marker, type, sequence and distance where fields of this length begin; returns the offset behind them. */
  #beginHeader(typeByte: number, fieldsLength: number, sequence: number, distance: number): number {
    assert(distance >= 0, 'the durable position is not beyond the tail')
    const scratch = this.#scratch
    const at = this.#bodyStart - fieldsLength
    scratch[at] = RECORD_MARKER
    scratch[at + 1] = typeByte
    return writeVarint(scratch, writeVarint(scratch, at + 2, sequence), distance)
  }

  /** Adds checksum and length before the fields and copies the record, which ends at `end`, into the ring. */
  #stage(ring: LogRing, position: Lsn, fieldsLength: number, end: number): number {
    if (!this.#sealed) this.seal()
    const scratch = this.#scratch
    const bodyStart = this.#bodyStart
    const length = CHECKSUM_BYTES + fieldsLength + (end - bodyStart)
    const checksumAt = bodyStart - fieldsLength - CHECKSUM_BYTES
    const start = checksumAt - varintLength(length)
    writeVarint(scratch, start, length)
    const body = end === bodyStart ? EMPTY_BODY_CHECKSUM : this.#bodyChecksum
    const checksum = recordChecksum(scratch, start, checksumAt, bodyStart, body, position, ring.saltLow, ring.saltHigh)
    scratch[checksumAt] = checksum & 0xff
    scratch[checksumAt + 1] = (checksum >>> 8) & 0xff
    scratch[checksumAt + 2] = (checksum >>> 16) & 0xff
    scratch[checksumAt + 3] = checksum >>> 24
    ring.stage(position, scratch, start, end)
    return end - start
  }

  #writeKey(opcode: number, tableId: number, key: Uint8Array, derived: boolean, expiry: number): number {
    const scratch = this.#scratch
    let at = this.#end
    scratch[at++] = opcode | (derived ? OPERATION_DERIVED : 0) | (expiry === 0 ? 0 : OPERATION_EXPIRES)
    at = writeVarint(scratch, at, tableId)
    if (expiry !== 0) at = writeVarint(scratch, at, expiry)
    at = writeVarint(scratch, at, key.length)
    copyBytes(key, 0, scratch, at, key.length)
    return at + key.length
  }

  #writeValue(offset: number, value: Uint8Array): void {
    const at = writeVarint(this.#scratch, offset, value.length)
    copyBytes(value, 0, this.#scratch, at, value.length)
    this.#finish(at + value.length)
  }

  #finish(end: number): void {
    this.#end = end
    this.#count++
    this.#sealed = false
  }

  #headroomNeeded(): number {
    return HEADER_BYTES_MAX + this.#origin.dependencyCount * DEPENDENCY_BYTES_MAX
  }

  /** Moves the operations back when the dependencies of this record need a longer header. */
  #makeHeadroom(): void {
    const needed = this.#headroomNeeded()
    if (needed <= this.#bodyStart) return
    const length = this.length
    const shift = needed - this.#bodyStart
    this.#reserve(shift)
    this.#scratch.copyWithin(needed, this.#bodyStart, this.#bodyStart + length)
    this.#bodyStart = needed
    this.#end = needed + length
  }

  /** Makes room for `bytes` behind the operations. */
  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#scratch.length) return
    if (needed - this.#bodyStart > MAX_RECORD_BYTES - this.#headroomNeeded()) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `A log record holds at most ${MAX_RECORD_BYTES} bytes: split the transaction into fragments`,
      )
    }
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#scratch.length * 2, needed))
    grown.set(this.#scratch.subarray(0, this.#end))
    this.#scratch = grown
  }
}
