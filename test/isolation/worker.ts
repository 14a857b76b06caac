/** One process of the isolation tests: does its part of a scenario and tells the test what it saw. */

import { isHyphaError } from 'hyphadb/internal/base/errors.js'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { Isolation, Reader, Table, Transaction } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { argument, listen, report, runPeer } from '../model/processes.js'
import { checkSum, SHARED_TABLE, transfer } from '../model/shared-rows.js'
import type { ListTransaction } from './history.js'

export interface IsolationWork {
  scenario: 'lists' | 'bank' | 'pairs' | 'short'
  directory: string
  engine: InternalOptions
  process: number
  seed: number
  transactions: number
  isolation: Isolation
}

export const LISTS_TABLE = 'lists'
export const LIST_KEYS = 6
export const PAIR_TABLES = ['left', 'right'] as const
export const COUNTERS_TABLE = 'counters'
export const COUNTERS = 200

export const keyOf = (key: number): Buffer => Buffer.from(`key ${String(key).padStart(6, '0')}`)

export function readList(reader: Reader, table: Table, key: number): number[] {
  const bytes = reader.get(table, keyOf(key))
  return bytes === undefined ? [] : Array.from({ length: bytes.length >> 2 }, (_, i) => bytes.readUInt32LE(i * 4))
}

function writeList(tx: Transaction, table: Table, key: number, list: readonly number[]): void {
  const bytes = Buffer.alloc(list.length * 4)
  for (const [i, value] of list.entries()) bytes.writeUInt32LE(value, i * 4)
  tx.put(table, keyOf(key), bytes)
}

/** By a point or by a range: both must be validated. */
function readSomehow(tx: Reader, table: Table, key: number, random: SeededRandom): number[] {
  if (random.chance(0.6)) return readList(tx, table, key)
  const range = {
    gte: keyOf(key),
    lte: keyOf(key),
    reverse: random.chance(0.5),
    ...(random.chance(0.3) && { limit: 1 }),
  }
  const cursor = tx.range(table, range)
  const found = cursor.next()
  const bytes = found ? Buffer.from(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)) : Buffer.alloc(0)
  cursor.close()
  return Array.from({ length: bytes.length >> 2 }, (_, i) => bytes.readUInt32LE(i * 4))
}

class GivenUp extends Error {}

async function appendToLists(engine: HyphaEngine, work: IsolationWork): Promise<ListTransaction[]> {
  const table = engine.openTable(LISTS_TABLE)
  const random = new SeededRandom(work.seed)
  const history: ListTransaction[] = []
  let next = 0
  for (let i = 0; i < work.transactions; i++) {
    const done: ListTransaction = { process: work.process, committed: false, operations: [] }
    const pauses = random.chance(0.5)
    const attempt = async (tx: Transaction): Promise<void> => {
      done.operations = []
      const count = random.between(1, 4)
      for (let j = 0; j < count; j++) {
        const key = random.below(LIST_KEYS)
        const list = readSomehow(tx, table, key, random)
        done.operations.push({ kind: 'read', key, list })
        if (random.chance(0.5)) {
          const value = work.process * 1_000_000 + next++
          writeList(tx, table, key, [...list, value])
          done.operations.push({ kind: 'append', key, value })
        }
        if (pauses) await new Promise(resolve => setImmediate(resolve))
      }
      if (random.chance(0.05)) throw new GivenUp()
    }
    try {
      if (random.chance(0.15)) readLists(engine, table, done, random)
      else await engine.transact(attempt, { isolation: work.isolation, durability: 'none' })
      done.committed = true
    } catch (error) {
      if (!(error instanceof GivenUp) && !isHyphaError(error, 'HYPHA_CONFLICT')) throw error
    }
    history.push(done)
    if (random.chance(0.02)) await engine.checkpoint()
  }
  return history
}

/** A snapshot is a transaction that only reads. */
function readLists(engine: HyphaEngine, table: Table, done: ListTransaction, random: SeededRandom): void {
  using snapshot = engine.snapshot()
  for (let key = 0; key < LIST_KEYS; key++) {
    if (random.chance(0.6)) done.operations.push({ kind: 'read', key, list: readSomehow(snapshot, table, key, random) })
  }
}

async function bank(engine: HyphaEngine, work: IsolationWork): Promise<void> {
  const table = engine.openTable(SHARED_TABLE)
  const random = new SeededRandom(work.seed)
  for (let i = 0; i < work.transactions; i++) {
    const options = { isolation: work.isolation, durability: 'none' } as const
    if (random.chance(0.5)) engine.transactSync(tx => transfer(tx, table, random), options)
    else {
      await engine.transact(async tx => {
        transfer(tx, table, random)
        await new Promise(resolve => setImmediate(resolve))
      }, options)
    }
    checkSum(engine.latest, table, 'newest', random.chance(0.5))
    if (random.chance(0.1)) {
      using snapshot = engine.snapshot()
      const first = checkSum(snapshot, table, 'a snapshot')
      await new Promise(resolve => setImmediate(resolve))
      if (checkSum(snapshot, table, 'the same snapshot', true) !== first) throw new Error('a snapshot changed its mind')
    }
  }
}

/** Two rows far apart are always written together; half of the processes only read them. */
async function pairs(engine: HyphaEngine, work: IsolationWork): Promise<void> {
  const [left, right] = PAIR_TABLES.map(name => engine.openTable(name)) as [Table, Table]
  const random = new SeededRandom(work.seed)
  for (let i = 0; i < work.transactions; i++) {
    const key = keyOf(random.below(20))
    if (work.process % 2 === 0) {
      const value = random.bytes(random.chance(0.1) ? random.between(2000, 9000) : random.between(0, 200))
      engine.transactSync(
        tx => {
          tx.put(left, key, value)
          tx.put(right, key, value)
        },
        { durability: 'none' },
      )
      if (random.chance(0.01)) await engine.checkpoint()
      if (random.chance(0.05)) engine.housekeep()
      continue
    }
    for (let reads = 0; reads < 5; reads++) {
      using snapshot = engine.snapshot()
      const a = snapshot.get(left, key)
      const b = snapshot.get(right, key)
      if (a === undefined ? b !== undefined : b === undefined || Buffer.compare(a, b) !== 0) {
        throw new Error(`half a transaction: ${a?.length} bytes left, ${b?.length} right`)
      }
    }
    if (i % 10 === 0) await new Promise(resolve => setImmediate(resolve))
  }
}

/** Short transactions that spoil a long one, until the test says stop. */
async function short(engine: HyphaEngine, work: IsolationWork): Promise<void> {
  const table = engine.openTable(COUNTERS_TABLE)
  const random = new SeededRandom(work.seed)
  let stopped = false
  process.once('message', () => {
    stopped = true
  })
  await report('ready')
  for (let i = 0; !stopped; i++) {
    await engine.transact(
      tx => {
        const key = keyOf(random.below(COUNTERS))
        const value = Number(tx.get(table, key)?.toString() ?? 0)
        tx.put(table, key, Buffer.from(String(value + 1)))
      },
      { durability: 'none' },
    )
    if (i % 5 === 0) await new Promise(resolve => setTimeout(resolve, 1))
  }
}

async function main(): Promise<void> {
  const work = argument<IsolationWork>()
  const next = listen<'go'>()
  const engine = await openEngine(work.directory, work.engine)
  await report('open')
  await next()
  let result: unknown = 'done'
  if (work.scenario === 'lists') result = await appendToLists(engine, work)
  else if (work.scenario === 'bank') await bank(engine, work)
  else if (work.scenario === 'pairs') await pairs(engine, work)
  else await short(engine, work)
  await report(result)
  await engine.close()
}

if (process.argv[2] !== undefined && process.send !== undefined) runPeer(main)
