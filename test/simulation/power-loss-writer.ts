/**
 * A process that writes until its file system is gone: transactions in order, over two tables, and a line on stdout for
 * each that is on disk. What it writes follows from the transaction's number, so that whoever checks needs no more.
 *
 * Arguments: directory, shared memory directory.
 */
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import type { Table } from 'hyphadb/internal/txn/api.js'

const KEYS = 150

export const writerOptions: InternalOptions = {
  pageSize: 4096,
  frames: 64,
  segmentBytes: 65_536,
  logRingBytes: 65_536,
  versionRingBytes: 65_536,
  checkpointBytes: 150_000,
  housekeeping: 'none',
}

export interface Written {
  key: string
  value: Buffer | undefined
}

/** The rows that transaction `n` changes; in both tables the same. */
export function rowsOf(n: number): Written[] {
  const random = new SeededRandom(n)
  return Array.from({ length: random.between(1, 4) }, () => {
    const key = `key${random.below(KEYS)}`
    const length = random.chance(0.1) ? random.between(2000, 9000) : random.below(200)
    return { key, value: random.chance(0.15) ? undefined : random.bytes(length) }
  })
}

function write(engine: HyphaEngine, tables: readonly Table[], n: number): Promise<void> {
  return engine.transact(tx => {
    for (const table of tables) {
      for (const { key, value } of rowsOf(n)) {
        if (value === undefined) tx.delete(table, Buffer.from(key))
        else tx.put(table, Buffer.from(key), value)
      }
    }
    const number = Buffer.alloc(8)
    number.writeDoubleLE(n)
    tx.put(tables[0] as Table, Buffer.from('last'), number)
  })
}

async function run(directory: string, sharedMemoryDirectory: string): Promise<void> {
  const engine = await openEngine(directory, { ...writerOptions, sharedMemoryDirectory })
  const tables = [engine.openTable('left'), engine.openTable('right')]
  const last = engine.latest.get(tables[0] as Table, Buffer.from('last'))
  for (let n = (last?.readDoubleLE(0) ?? 0) + 1; ; n++) {
    const written = write(engine, tables, n).then(() => {
      process.stdout.write(`${n}\n`)
    })
    if (n % 8 === 0) await written
    if (n % 20 === 0) engine.housekeep()
  }
}

const [directory, memory] = process.argv.slice(2)
if (process.argv[1]?.endsWith('power-loss-writer.js') && directory !== undefined && memory !== undefined) {
  // When its disk is gone it ends, with whatever error.
  run(directory, memory).catch(() => process.exit(1))
}
