/** The newest state, in whatever generation of the region this thread is. A stable object over changing readers. */
import type { Cursor, KeyRange, Reader, Table } from '../txn/api.js'
import type { NewestReader } from '../txn/reading.js'

export class GenerationReader implements Reader {
  #reader: NewestReader

  constructor(readonly current: () => NewestReader) {
    this.#reader = current()
  }

  get(table: Table, key: Uint8Array): Buffer | undefined {
    this.#reader = this.current()
    return this.#reader.get(table, key)
  }

  find(table: Table, key: Uint8Array): boolean {
    this.#reader = this.current()
    return this.#reader.find(table, key)
  }

  get buffer(): Buffer {
    return this.#reader.buffer
  }

  get valueStart(): number {
    return this.#reader.valueStart
  }

  get valueEnd(): number {
    return this.#reader.valueEnd
  }

  range(table: Table, range: KeyRange): Cursor {
    this.#reader = this.current()
    return this.#reader.range(table, range)
  }

  count(table: Table, range: KeyRange): number {
    this.#reader = this.current()
    return this.#reader.count(table, range)
  }
}
