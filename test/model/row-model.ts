/**
 * What one table should hold, as a plain map, and its comparison with whatever the engine reads: single rows, ranges both
 * ways with limits, counts. Comparisons throw with what differed; the caller adds seed and history.
 */
import type { Cursor, KeyRange, Reader, Table } from 'hyphadb/internal/engine/api.js'

/** Bounds as latin1 text, which sorts like the bytes. */
export interface TextRange {
  gte?: string
  gt?: string
  lte?: string
  lt?: string
  reverse?: boolean
  limit?: number
}

export const bytesOf = (key: string): Buffer => Buffer.from(key, 'latin1')
const show = (key: string): string => `${key.length}:${bytesOf(key.slice(0, 24)).toString('hex')}`
const showValue = (value: Uint8Array | undefined): string =>
  value === undefined ? 'nothing' : `${value.length} bytes ${Buffer.from(value.subarray(0, 8)).toString('hex')}`

export function toKeyRange(range: TextRange): KeyRange {
  const { gte, gt, lte, lt, reverse, limit } = range
  return {
    ...(gte !== undefined && { gte: bytesOf(gte) }),
    ...(gt !== undefined && { gt: bytesOf(gt) }),
    ...(lte !== undefined && { lte: bytesOf(lte) }),
    ...(lt !== undefined && { lt: bytesOf(lt) }),
    ...(reverse !== undefined && { reverse }),
    ...(limit !== undefined && { limit }),
  }
}

export function describe(range: TextRange): string {
  return Object.entries(range)
    .map(([name, bound]) => `${name} ${typeof bound === 'string' ? show(bound) : String(bound)}`)
    .join(' ')
}

export class RowModel {
  readonly rows: Map<string, Buffer>
  #sorted: string[] | undefined

  constructor(rows?: Map<string, Buffer>) {
    this.rows = new Map(rows)
  }

  copy(): RowModel {
    return new RowModel(this.rows)
  }

  set(key: string, value: Buffer): void {
    if (!this.rows.has(key)) this.#sorted = undefined
    this.rows.set(key, value)
  }

  delete(key: string): void {
    if (this.rows.delete(key)) this.#sorted = undefined
  }

  keysIn(range: TextRange): string[] {
    this.#sorted ??= [...this.rows.keys()].sort((a, b) => (a < b ? -1 : 1))
    const { gte, gt, lte, lt } = range
    const keys = this.#sorted.filter(
      key =>
        (gte === undefined || key >= gte) &&
        (gt === undefined || key > gt) &&
        (lte === undefined || key <= lte) &&
        (lt === undefined || key < lt),
    )
    return range.reverse === true ? keys.reverse() : keys
  }

  comparePoint(reader: Reader, table: Table, key: string): void {
    const expected = this.rows.get(key)
    const got = reader.get(table, bytesOf(key))
    if (!same(got, expected)) throw new Error(`get ${show(key)}: ${showValue(got)} for ${showValue(expected)}`)
    const found = reader.find(table, bytesOf(key))
    if (found !== (expected !== undefined)) throw new Error(`find ${show(key)}: ${found}, but get ${showValue(got)}`)
    if (expected === undefined) return
    const value = reader.buffer.subarray(reader.valueStart, reader.valueEnd)
    if (!same(value, expected)) throw new Error(`find ${show(key)}: ${showValue(value)} for ${showValue(expected)}`)
  }

  /** `most`: leave the cursor early, after so many rows. */
  compareRange(reader: Reader, table: Table, range: TextRange, most = Number.POSITIVE_INFINITY): void {
    const expected = this.keysIn(range).slice(0, range.limit)
    const cursor = reader.range(table, toKeyRange(range))
    try {
      for (let at = 0; at < most; at++) {
        const key = expected[at]
        if (!cursor.next()) {
          if (key !== undefined)
            throw new Error(`range ${describe(range)}: ends at row ${at} of ${expected.length}, before ${show(key)}`)
          if (cursor.next()) throw new Error(`range ${describe(range)}: goes on after its end`)
          return
        }
        this.#compareRow(cursor, key, range, at)
      }
    } finally {
      cursor.close()
    }
  }

  #compareRow(cursor: Cursor, key: string | undefined, range: TextRange, at: number): void {
    const got = Buffer.from(cursor.key()).toString('latin1')
    if (got !== key)
      throw new Error(
        `range ${describe(range)}: row ${at} is ${show(got)}, not ${key === undefined ? 'the end' : show(key)}`,
      )
    const value = cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)
    const expected = this.rows.get(key)
    if (!same(value, expected)) {
      throw new Error(
        `range ${describe(range)}: row ${at}, ${show(key)}, has ${showValue(value)} for ${showValue(expected)}`,
      )
    }
  }

  compareCount(reader: Reader, table: Table, range: TextRange): void {
    const expected = this.keysIn(range).slice(0, range.limit).length
    const got = reader.count(table, toKeyRange(range))
    if (got !== expected) throw new Error(`count ${describe(range)}: ${got} for ${expected}`)
  }

  /** Everything within a range, by every way of reading. */
  compareAll(reader: Reader, table: Table, range: TextRange): void {
    this.compareRange(reader, table, range)
    this.compareRange(reader, table, { ...range, reverse: true })
    this.compareCount(reader, table, range)
    for (const key of this.rows.keys()) this.comparePoint(reader, table, key)
  }
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0
}
