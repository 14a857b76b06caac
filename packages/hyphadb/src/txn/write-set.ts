/**
 * What a transaction wants to write: one operation a row, the last one wins. Kept in the order of first writing; sorted
 * per table only when a range is read over it.
 *
 * As long as the keys of a table come in ascending order, which bulk loads do, there is no index: a key beyond the last
 * one is new.
 */
import { compareBytes } from '../base/bytes.js'
import type { KeyRange } from './api.js'
import type { Operation } from './committer.js'
import { KeyIndex } from './key-sets.js'

export interface PendingWrite extends Operation {
  value: Uint8Array | undefined
  derived: boolean
}

class TableWrites {
  readonly writes: PendingWrite[] = []
  #index: KeyIndex | undefined
  #sorted: PendingWrite[] | undefined

  find(key: Uint8Array): PendingWrite | undefined {
    const { writes } = this
    const last = writes[writes.length - 1]
    if (last === undefined) return undefined
    if (this.#index === undefined) {
      const order = compareBytes(key, last.key)
      if (order > 0) return undefined
      if (order === 0) return last
      this.#makeIndex()
    }
    const position = (this.#index as KeyIndex).find(key)
    return position < 0 ? undefined : writes[position]
  }

  #makeIndex(): void {
    const index = new KeyIndex(position => (this.writes[position] as PendingWrite).key)
    for (const write of this.writes) index.add(write.key)
    this.#index = index
  }

  /** Adds a write whose key `find` has just not found. */
  add(write: PendingWrite): void {
    this.writes.push(write)
    this.#index?.add(write.key)
    this.#sorted = undefined
  }

  get sorted(): PendingWrite[] {
    if (this.#index === undefined) return this.writes
    this.#sorted ??= this.writes.slice().sort((a, b) => compareBytes(a.key, b.key))
    return this.#sorted
  }
}

export class WriteSet {
  readonly operations: PendingWrite[] = []
  readonly #tables = new Map<number, TableWrites>()

  get size(): number {
    return this.operations.length
  }

  has(tableId: number): boolean {
    return this.#tables.has(tableId)
  }

  find(tableId: number, key: Uint8Array): PendingWrite | undefined {
    return this.#tables.get(tableId)?.find(key)
  }

  /** `key` and `value` are kept, not copied. */
  set(tableId: number, key: Uint8Array, value: Uint8Array | undefined, derived: boolean): void {
    let table = this.#tables.get(tableId)
    if (table === undefined) {
      table = new TableWrites()
      this.#tables.set(tableId, table)
    }
    const known = table.find(key)
    if (known !== undefined) {
      known.value = value
      known.derived = derived
      return
    }
    const operation: PendingWrite = { tableId, key, value, derived, overflow: undefined }
    table.add(operation)
    this.operations.push(operation)
  }

  /** Writes to a table within a range, ascending by key. */
  inRange(tableId: number, range: KeyRange): PendingWrite[] {
    const table = this.#tables.get(tableId)
    return table === undefined ? [] : table.sorted.filter(operation => isWithin(operation.key, range))
  }
}

export function isWithin(key: Uint8Array, range: KeyRange): boolean {
  if (range.gt !== undefined && compareBytes(key, range.gt) <= 0) return false
  if (range.gte !== undefined && compareBytes(key, range.gte) < 0) return false
  if (range.lt !== undefined && compareBytes(key, range.lt) >= 0) return false
  return !(range.lte !== undefined && compareBytes(key, range.lte) > 0)
}
