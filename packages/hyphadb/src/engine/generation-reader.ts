/** The newest state, in whatever generation of the region this thread is. A stable object over changing readers. */
import { RegionReplaced } from '../memory/generation.js'
import type { Cursor, KeyRange, Reader, Table } from '../txn/api.js'
import type { NewestReader } from '../txn/reading.js'

export class GenerationReader implements Reader {
  #reader: NewestReader

  constructor(readonly current: () => NewestReader) {
    this.#reader = current()
  }

  get(table: Table, key: Uint8Array): Buffer | undefined {
    this.#reader = this.current()
    try {
      return this.#reader.get(table, key)
    } catch (error) {
      return this.#afterReplacement(error).get(table, key)
    }
  }

  find(table: Table, key: Uint8Array): boolean {
    this.#reader = this.current()
    try {
      return this.#reader.find(table, key)
    } catch (error) {
      return this.#afterReplacement(error).find(table, key)
    }
  }

  /** The region was given up in the middle of a read: what is newest stands in the next one. */
  #afterReplacement(error: unknown): NewestReader {
    if (!(error instanceof RegionReplaced)) throw error
    this.#reader = this.current()
    return this.#reader
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
    try {
      return this.#reader.range(table, range)
    } catch (error) {
      return this.#afterReplacement(error).range(table, range)
    }
  }

  count(table: Table, range: KeyRange): number {
    this.#reader = this.current()
    try {
      return this.#reader.count(table, range)
    } catch (error) {
      return this.#afterReplacement(error).count(table, range)
    }
  }
}
