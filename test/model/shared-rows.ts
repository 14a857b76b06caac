/**
 * Rows that all processes write: nobody knows their values, but every transaction keeps the sum of their balances, and
 * each row carries padding that follows from its balance and version. A reader that sees half a transaction, or half a
 * row, finds out.
 */
import type { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { Reader, Table, Transaction, TransactionOptions } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { bytesOf } from './row-model.js'

export const SHARED_TABLE = 'shared'
export const SHARED_ROWS = 24
const START_BALANCE = 1000
const HEADER = 8

interface Row {
  balance: number
  version: number
}

const keyOf = (row: number): Buffer => bytesOf(`account ${String(row).padStart(4, '0')}`)

/** Long ones need pages of their own now and then. */
function paddingOf({ balance, version }: Row): number {
  return version % 17 === 0 ? 3000 + (balance % 5000) : version % 90
}

function encode(row: Row): Buffer {
  const bytes = Buffer.alloc(HEADER + paddingOf(row), (row.balance * 31 + row.version) & 0xff)
  bytes.writeInt32LE(row.balance, 0)
  bytes.writeInt32LE(row.version, 4)
  return bytes
}

function decode(bytes: Buffer, what: string): Row {
  const row = { balance: bytes.readInt32LE(0), version: bytes.readInt32LE(4) }
  if (Buffer.compare(bytes, encode(row)) !== 0) {
    throw new Error(
      `${what}: row with balance ${row.balance} and version ${row.version} has ${bytes.length} bytes that do not fit`,
    )
  }
  return row
}

export async function createSharedRows(engine: HyphaEngine): Promise<void> {
  const table = engine.openTable(SHARED_TABLE)
  await engine.transact(tx => {
    for (let row = 0; row < SHARED_ROWS; row++)
      tx.put(table, keyOf(row), encode({ balance: START_BALANCE, version: 0 }))
  })
}

/** Moves money between two rows; reads others to have more to validate. */
export function transfer(tx: Transaction, table: Table, random: SeededRandom): void {
  const from = random.below(SHARED_ROWS)
  const to = (from + 1 + random.below(SHARED_ROWS - 1)) % SHARED_ROWS
  const a = readRow(tx, table, from)
  const b = readRow(tx, table, to)
  const amount = Math.min(a.balance, random.between(1, 50))
  tx.put(table, keyOf(from), encode({ balance: a.balance - amount, version: a.version + 1 }))
  tx.put(table, keyOf(to), encode({ balance: b.balance + amount, version: b.version + 1 }))
  if (random.chance(0.2)) checkSum(tx, table, 'in a transaction')
}

function readRow(reader: Reader, table: Table, row: number): Row {
  const bytes = reader.get(table, keyOf(row))
  if (bytes === undefined) throw new Error(`account ${row} is missing`)
  return decode(bytes, `account ${row}`)
}

/** The sum over one state, by a range or by single reads. Returns what a snapshot must go on showing. */
export function checkSum(reader: Reader, table: Table, what: string, reverse = false): number {
  const cursor = reader.range(table, { reverse })
  let sum = 0
  let rows = 0
  let digest = 0
  while (cursor.next()) {
    const bytes = cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)
    const row = decode(bytes, `${what}, row ${rows}`)
    sum += row.balance
    digest = (digest + Math.imul(row.version + 1, row.balance + 7)) | 0
    rows++
  }
  cursor.close()
  if (rows !== SHARED_ROWS || sum !== SHARED_ROWS * START_BALANCE)
    throw new Error(`${what}: ${rows} shared rows with ${sum} in all`)
  return digest
}

export function transferSync(
  engine: HyphaEngine,
  table: Table,
  random: SeededRandom,
  options: TransactionOptions,
): void {
  engine.transactSync(tx => transfer(tx, table, random), options)
}
