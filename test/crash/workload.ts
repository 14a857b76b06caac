/**
 * The writers' workload: transactions that follow from seed, writer and number alone, so that whoever knows how many of a
 * writer's transactions are in the database knows every byte that must be there.
 *
 * | table | key | value |
 * |---|---|---|
 * | rows | writer/id | number of the transaction, id, pattern up to a length |
 * | marks | mark byte + key of the row | empty: an index derived from the row's value |
 * | writers | writer | number of its last transaction, its rows, a digest of them: three float64 |
 * | totals | 'transactions' | sum of all writers' numbers, float64 |
 *
 * Every transaction changes rows, their marks, its writer's row and the total: half a transaction shows in any snapshot.
 */

import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { Reader, Table, Transaction } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'

export const ROW_HEADER_BYTES = 8
const IDS = 160
const MARKS = 61
const TOTAL_KEY = Buffer.from('transactions')

export interface Tables {
  rows: Table
  marks: Table
  writers: Table
  totals: Table
}

export function openTables(engine: HyphaEngine): Tables {
  return {
    rows: engine.openTable('rows'),
    marks: engine.openTable('marks'),
    writers: engine.openTable('writers'),
    totals: engine.openTable('totals'),
  }
}

/** One row's change: `length` undefined deletes it. */
export interface RowChange {
  readonly id: number
  readonly length: number | undefined
}

/** What a writer's row says of it. */
export interface WriterState {
  number: number
  rows: number
  digest: number
}

function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** The changes of a writer's n-th transaction. Sizes reach from nothing to several log fragments. */
export function planTransaction(seed: number, writer: string, number: number): RowChange[] {
  const random = new SeededRandom(seed ^ Math.imul(hashText(writer), 31) ^ Math.imul(number, 0x9e3779b1))
  const changes = new Map<number, RowChange>()
  const count = random.between(1, 6)
  for (let i = 0; i < count; i++) {
    const id = random.below(IDS)
    changes.set(id, { id, length: random.chance(0.25) ? undefined : lengthOf(random) })
  }
  return [...changes.values()]
}

function lengthOf(random: SeededRandom): number {
  const dice = random.below(100)
  if (dice < 60) return random.between(0, 120)
  if (dice < 85) return random.between(120, 900)
  if (dice < 97) return random.between(1200, 5000)
  return random.between(8000, 50_000)
}

export function rowKey(writer: string, id: number): Buffer {
  return Buffer.from(`${writer}/${String(id).padStart(5, '0')}${id % 7 === 0 ? '-a-longer-key-than-the-others' : ''}`)
}

/** The bytes of a row: header, then a pattern that no other row or transaction has. */
export function rowValue(id: number, number: number, length: number): Buffer {
  const value = Buffer.alloc(ROW_HEADER_BYTES + length)
  value.writeUInt32LE(number, 0)
  value.writeUInt32LE(id, 4)
  let state = (Math.imul(number, 0x9e3779b1) ^ Math.imul(id, 0x85ebca6b)) >>> 0
  for (let at = ROW_HEADER_BYTES; at < value.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    value[at] = state >>> 24
  }
  return value
}

export function markKey(id: number, number: number, key: Uint8Array): Buffer {
  const mark = Buffer.alloc(1 + key.length)
  mark[0] = (Math.imul(number, 31) + id) % MARKS
  mark.set(key, 1)
  return mark
}

/** A row's share of its writer's digest; shares are added modulo 2^32. */
export function share(id: number, number: number, length: number): number {
  return (Math.imul(id + 1, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b) ^ Math.imul(length + 1, 0xc2b2ae35)) >>> 0
}

export function readState(reader: Reader, tables: Tables, writer: string): WriterState {
  const value = reader.get(tables.writers, Buffer.from(writer))
  if (value === undefined) return { number: 0, rows: 0, digest: 0 }
  return { number: value.readDoubleLE(0), rows: value.readDoubleLE(8), digest: value.readDoubleLE(16) }
}

export function readTotal(reader: Reader, tables: Tables): number {
  return reader.get(tables.totals, TOTAL_KEY)?.readDoubleLE(0) ?? 0
}

function putNumbers(tx: Transaction, table: Table, key: Buffer, ...numbers: number[]): void {
  const value = Buffer.alloc(numbers.length * 8)
  numbers.forEach((number, i) => {
    value.writeDoubleLE(number, i * 8)
  })
  tx.put(table, key, value)
}

/** Writes a planned transaction. Throws when the writer's row says that another one is due. */
export function applyTransaction(tx: Transaction, tables: Tables, seed: number, writer: string, number: number): void {
  const state = readState(tx, tables, writer)
  if (state.number !== number - 1) {
    throw new Error(`writer ${writer} is at transaction ${state.number}, not at ${number - 1}`)
  }
  for (const { id, length } of planTransaction(seed, writer, number)) {
    const key = rowKey(writer, id)
    const old = tx.get(tables.rows, key)
    if (old !== undefined) {
      const oldNumber = old.readUInt32LE(0)
      tx.delete(tables.marks, markKey(id, oldNumber, key), true)
      state.rows--
      state.digest = (state.digest - share(id, oldNumber, old.length - ROW_HEADER_BYTES)) >>> 0
    }
    if (length === undefined) {
      if (old !== undefined) tx.delete(tables.rows, key)
      continue
    }
    tx.put(tables.rows, key, rowValue(id, number, length))
    tx.put(tables.marks, markKey(id, number, key), Buffer.alloc(0), true)
    state.rows++
    state.digest = (state.digest + share(id, number, length)) >>> 0
  }
  putNumbers(tx, tables.writers, Buffer.from(writer), number, state.rows, state.digest)
  putNumbers(tx, tables.totals, TOTAL_KEY, readTotal(tx, tables) + 1)
}

/** Which rows a writer must have after its first `number` transactions. Goes forward only. */
export class WriterModel {
  readonly rows = new Map<number, { number: number; length: number }>()
  number = 0

  constructor(
    readonly seed: number,
    readonly writer: string,
  ) {}

  advanceTo(number: number): void {
    while (this.number < number) {
      this.number++
      for (const { id, length } of planTransaction(this.seed, this.writer, this.number)) {
        if (length === undefined) this.rows.delete(id)
        else this.rows.set(id, { number: this.number, length })
      }
    }
  }
}
