/**
 * What a serializable transaction has read, and whether a commit since its snapshot has changed any of it (optimistic
 * validation: Kung and Robinson, "On Optimistic Methods for Concurrency Control", 1981).
 *
 * Points are rows, absent ones too; ranges are what a cursor has really covered. A long set is checked before the latch is
 * taken, up to a sequence V, and under the latch only against the log records since V.
 */

import { OPERATION_DELETE, OPERATION_PUT, OperationDecoder } from '../log/operation-decoder.js'
import { RECORD_BAD, RECORD_COMMIT, RecordHeader } from '../log/record.js'
import type { LogRing } from '../log/ring.js'
import type { KeyRange } from './api.js'
import { KeySet } from './key-sets.js'
import type { Trees } from './trees.js'
import { isWithin, type WriteSet } from './write-set.js'

export interface RangeRead {
  tableId: number
  range: KeyRange
}

/** Beyond so many entries, most of the work is done before the latch is taken. */
const LONG = 32
const NOTHING = new Uint8Array(0)

export class ReadSet {
  readonly #points = new Map<number, KeySet>()
  readonly #ranges: RangeRead[] = []
  #size = 0

  point(tableId: number, key: Uint8Array): void {
    let table = this.#points.get(tableId)
    if (table === undefined) {
      table = new KeySet()
      this.#points.set(tableId, table)
    }
    if (table.add(key)) this.#size++
  }

  range(read: RangeRead): void {
    this.#ranges.push(read)
    this.#size += 4
  }

  isLong(writes: WriteSet): boolean {
    return this.#size + writes.size > LONG
  }

  /** True when nothing read or written has changed after `sequence`. */
  standsSince(sequence: number, trees: Trees, writes: WriteSet): boolean {
    for (const [tableId, keys] of this.#points) {
      const tree = trees.of(tableId)
      if (tree === undefined) continue
      for (const key of keys) if (tree.sequenceOf(key, key.length) > sequence) return false
    }
    for (const { tableId, range } of this.#ranges) {
      const low = range.gt ?? range.gte ?? NOTHING
      const high = range.lt ?? range.lte
      const tree = trees.of(tableId)
      if (tree?.changedSince(low, range.gt === undefined, high, range.lt === undefined, sequence) === true) return false
    }
    for (const { tableId, key } of writes.operations) {
      const tree = trees.of(tableId)
      if (tree !== undefined && tree.sequenceOf(key, key.length) > sequence) return false
    }
    return true
  }

  /**
   * True when no commit in [from, ring's tail) touches what was read or written; undefined when the ring no longer holds
   * them all, or one of them is too large to stand in one record. Requires the commit latch.
   */
  untouchedIn(ring: LogRing, from: number, writes: WriteSet): boolean | undefined {
    if (ring.tail - from > ring.capacity >> 1) return undefined
    const header = new RecordHeader()
    const decoder = new OperationDecoder()
    for (let position = from; position < ring.tail; ) {
      const total = ring.readRecord(position, header)
      if (total === RECORD_BAD || header.fragmentCount > 0) return undefined
      if (header.type === RECORD_COMMIT) {
        decoder.reset(ring.viewBytes, header.bodyStart, header.bodyEnd)
        while (decoder.next()) {
          if (decoder.opcode !== OPERATION_PUT && decoder.opcode !== OPERATION_DELETE) return undefined
          const key = decoder.bytes.subarray(decoder.keyStart, decoder.keyEnd)
          if (this.#touches(decoder.tableId, key, writes)) return false
        }
      }
      position += total
    }
    return true
  }

  #touches(tableId: number, key: Uint8Array, writes: WriteSet): boolean {
    if (this.#points.get(tableId)?.has(key) === true) return true
    if (writes.find(tableId, key) !== undefined) return true
    return this.#ranges.some(read => read.tableId === tableId && isWithin(key, read.range))
  }
}
