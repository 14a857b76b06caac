/**
 * A cursor over a snapshot's range with a transaction's own writes laid over it. Tells the read set how far it came: a
 * range that was left early is validated only up to where it was read.
 */
import type { Cursor, KeyRange } from './api.js'
import type { RangeRead } from './read-set.js'
import type { PendingWrite } from './write-set.js'

export class MergingCursor implements Cursor {
  buffer: Buffer = Buffer.alloc(0)
  valueStart = 0
  valueEnd = 0
  keyBuffer: Buffer = Buffer.alloc(0)
  keyLength = 0
  readonly #inner: Cursor
  readonly #writes: PendingWrite[]
  readonly #direction: number
  readonly #read: RangeRead
  readonly #range: KeyRange
  #left: number
  #nextWrite = 0
  #innerState: 'unread' | 'row' | 'end' = 'unread'
  #closed = false
  #exhausted = false

  constructor(inner: Cursor, writes: PendingWrite[], range: KeyRange, limit: number | undefined, read: RangeRead) {
    this.#inner = inner
    this.#direction = range.reverse === true ? -1 : 1
    this.#writes = this.#direction < 0 ? writes.slice().reverse() : writes
    this.#left = limit ?? Number.POSITIVE_INFINITY
    this.#range = range
    this.#read = read
  }

  next(): boolean {
    if (this.#closed) return false
    if (this.#left-- <= 0) {
      this.close()
      return false
    }
    for (;;) {
      if (this.#innerState === 'unread') this.#innerState = this.#inner.next() ? 'row' : 'end'
      const write = this.#writes[this.#nextWrite]
      if (write === undefined) {
        if (this.#innerState === 'end') return this.#finish()
        this.#takeInner()
        return true
      }
      const order = this.#innerState === 'end' ? -1 : this.#compare(write.key)
      if (order > 0) {
        this.#takeInner()
        return true
      }
      this.#nextWrite++
      if (order === 0) this.#innerState = 'unread'
      if (write.value === undefined) continue
      this.#takeWrite(write)
      return true
    }
  }

  /** Below 0: the write comes before the inner row. */
  #compare(key: Uint8Array): number {
    const { keyBuffer, keyLength } = this.#inner
    return -keyBuffer.compare(key, 0, key.length, 0, keyLength) * this.#direction
  }

  #takeInner(): void {
    this.#innerState = 'unread'
    this.buffer = this.#inner.buffer
    this.valueStart = this.#inner.valueStart
    this.valueEnd = this.#inner.valueEnd
    this.keyBuffer = this.#inner.keyBuffer
    this.keyLength = this.#inner.keyLength
  }

  #takeWrite(write: PendingWrite): void {
    const value = write.value as Uint8Array
    this.buffer = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    this.valueStart = 0
    this.valueEnd = value.length
    this.keyBuffer = Buffer.from(write.key.buffer, write.key.byteOffset, write.key.byteLength)
    this.keyLength = write.key.length
  }

  #finish(): false {
    this.#exhausted = true
    this.close()
    return false
  }

  key(): Uint8Array {
    return Buffer.from(this.keyBuffer.subarray(0, this.keyLength))
  }

  close(): void {
    if (this.#closed) return
    if (!this.#exhausted) this.#narrow()
    this.#closed = true
    this.#inner.close()
  }

  /** Left early: what lies beyond the row served last was not seen. */
  #narrow(): void {
    const { gte, gt, lte, lt } = this.#range
    const last =
      this.keyLength > 0 || this.buffer.length > 0
        ? Uint8Array.from(this.keyBuffer.subarray(0, this.keyLength))
        : undefined
    if (last === undefined) return
    const narrowed: KeyRange = {}
    if (this.#direction > 0) {
      if (gt !== undefined) narrowed.gt = gt
      if (gte !== undefined) narrowed.gte = gte
      narrowed.lte = last
    } else {
      if (lt !== undefined) narrowed.lt = lt
      if (lte !== undefined) narrowed.lte = lte
      narrowed.gte = last
    }
    this.#read.range = narrowed
  }
}
