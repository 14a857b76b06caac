/**
 * What a transaction wants to write: one operation a row, the last one wins. Kept in the order of first writing; sorted
 * per table only when a range is read over it.
 */
import type { KeyRange } from './api.js'
import type { Operation } from './committer.js'

export interface PendingWrite extends Operation {
  value: Uint8Array | undefined
  derived: boolean
}

export class WriteSet {
  readonly operations: PendingWrite[] = []
  readonly #tables = new Map<number, Map<string, PendingWrite>>()
  readonly #sorted = new Map<number, PendingWrite[]>()

  get size(): number {
    return this.operations.length
  }

  has(tableId: number): boolean {
    return this.#tables.has(tableId)
  }

  find(tableId: number, key: Uint8Array): PendingWrite | undefined {
    return this.#tables.get(tableId)?.get(nameOf(key))
  }

  /** `key` and `value` are kept, not copied. */
  set(tableId: number, key: Uint8Array, value: Uint8Array | undefined, derived: boolean): void {
    let table = this.#tables.get(tableId)
    if (table === undefined) {
      table = new Map()
      this.#tables.set(tableId, table)
    }
    const name = nameOf(key)
    const known = table.get(name)
    if (known !== undefined) {
      known.value = value
      known.derived = derived
      return
    }
    const operation: PendingWrite = { tableId, key, value, derived, overflow: undefined }
    table.set(name, operation)
    this.operations.push(operation)
    this.#sorted.delete(tableId)
  }

  /** Writes to a table within a range, ascending by key. */
  inRange(tableId: number, range: KeyRange): PendingWrite[] {
    let sorted = this.#sorted.get(tableId)
    if (sorted === undefined) {
      sorted = [...(this.#tables.get(tableId)?.values() ?? [])].sort((a, b) => Buffer.compare(a.key, b.key))
      this.#sorted.set(tableId, sorted)
    }
    return sorted.filter(operation => isWithin(operation.key, range))
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.isBuffer(key)
    ? key.latin1Slice(0, key.length)
    : Buffer.from(key.buffer, key.byteOffset, key.byteLength).latin1Slice(0, key.length)
}

export { nameOf as keyName }

export function isWithin(key: Uint8Array, range: KeyRange): boolean {
  if (range.gt !== undefined && Buffer.compare(key, range.gt) <= 0) return false
  if (range.gte !== undefined && Buffer.compare(key, range.gte) < 0) return false
  if (range.lt !== undefined && Buffer.compare(key, range.lt) >= 0) return false
  return !(range.lte !== undefined && Buffer.compare(key, range.lte) > 0)
}
