/**
 * Operations inside a record's body, and reading them back.
 *
 * | bytes | field | in |
 * |---|---|---|
 * | 1 | opcode (low 3 bits), OPERATION_DERIVED 0x08, OPERATION_EXPIRES 0x10 | all |
 * | 1..5 | table id | put, delete, begin |
 * | 1..8 | expiry, milliseconds since 1970 | with OPERATION_EXPIRES |
 * | 1..5, n | length of the key, key | put, delete, begin |
 * | 1..5 | length of the whole value | begin |
 * | 1..5, n | length of the value (or of this part of it), value | put, begin, continue |
 *
 * A value that does not fit one record comes as `begin` and as many `continue` as it takes, in order and with nothing
 * between, usually in several fragments of one transaction.
 *
 * `derived` marks an index entry: recovery replays it, a mesh leaves it out, since each node derives its own.
 */
import { HyphaError } from '../base/errors.js'
import { readVarint, varintEnd } from '../base/varint.js'

export const OPERATION_PUT = 1
export const OPERATION_DELETE = 2
export const OPERATION_PUT_BEGIN = 3
export const OPERATION_PUT_CONTINUE = 4

export const OPERATION_CODE_MASK = 0x07
export const OPERATION_DERIVED = 0x08
export const OPERATION_EXPIRES = 0x10

/**
 * Walks operations without allocating: `reset`, then `next()` until it says false. The fields describe the operation that
 * `next` came to; key and value are ranges of `bytes`.
 */
export class OperationDecoder {
  bytes: Uint8Array = new Uint8Array(0)
  opcode = 0
  derived = false
  tableId = 0
  keyStart = 0
  keyEnd = 0
  /** Empty for a delete. Of `begin` and `continue`: the part that this operation carries. */
  valueStart = 0
  valueEnd = 0
  /** Length of the whole value, of which a `begin` carries the first part. */
  valueTotal = 0
  /** Milliseconds since 1970; 0 = never. */
  expiry = 0
  /** Where this operation starts: names the place when something is wrong with it. */
  operationStart = 0
  #at = 0
  #end = 0

  reset(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes
    this.#at = start
    this.#end = end
  }

  next(): boolean {
    const start = this.#at
    if (start >= this.#end) return false
    this.operationStart = start
    const head = this.bytes[start]!
    this.opcode = head & OPERATION_CODE_MASK
    this.derived = (head & OPERATION_DERIVED) !== 0
    this.expiry = 0
    this.#at = start + 1
    switch (this.opcode) {
      case OPERATION_PUT:
        this.#key(head)
        this.#value()
        this.valueTotal = this.valueEnd - this.valueStart
        break
      case OPERATION_DELETE:
        this.#key(head)
        this.valueStart = this.valueEnd = this.#at
        this.valueTotal = 0
        break
      case OPERATION_PUT_BEGIN:
        this.#key(head)
        this.valueTotal = this.#number()
        this.#value()
        break
      case OPERATION_PUT_CONTINUE:
        this.#value()
        break
      default:
        this.#malformed()
    }
    return true
  }

  #key(head: number): void {
    this.tableId = this.#number()
    if ((head & OPERATION_EXPIRES) !== 0) this.expiry = this.#number()
    const length = this.#number()
    this.keyStart = this.#at
    this.keyEnd = this.keyStart + length
    if (this.keyEnd > this.#end) this.#malformed()
    this.#at = this.keyEnd
  }

  #value(): void {
    const length = this.#number()
    this.valueStart = this.#at
    this.valueEnd = this.valueStart + length
    if (this.valueEnd > this.#end) this.#malformed()
    this.#at = this.valueEnd
  }

  #number(): number {
    const value = readVarint(this.bytes, this.#at, this.#end)
    if (value < 0) this.#malformed()
    this.#at = varintEnd
    return value
  }

  #malformed(): never {
    throw new HyphaError(
      'HYPHA_CORRUPT',
      `An operation in a log record whose checksum is right cannot be decoded (byte ${this.operationStart} of its buffer): run 'hypha verify'`,
    )
  }
}
