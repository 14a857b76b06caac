/** A process that rewrites all rows of a table again and again, in transactions of some hundred rows. */
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { argument, report, runPeer } from './processes.js'

export interface RewriterWork {
  directory: string
  engine: InternalOptions
  rows: number
  /** Rounds `from` to `to`, both included; the round's number is in every value. */
  from: number
  to: number
}

export const ROWS_TABLE = 'rows'
const BATCH = 250

export const rowKey = (row: number): Buffer => Buffer.from(`row ${String(row).padStart(8, '0')}`)

/** 60 to 160 bytes that follow from row and round. */
export function rowValue(row: number, round: number): Buffer {
  const value = Buffer.alloc(60 + ((row * 7 + round * 31) % 100), (row + round) & 0xff)
  value.writeUInt32LE(row, 0)
  value.writeUInt32LE(round, 4)
  return value
}

export async function rewrite(engine: HyphaEngine, rows: number, round: number): Promise<void> {
  const table = engine.openTable(ROWS_TABLE)
  for (let first = 0; first < rows; first += BATCH) {
    engine.transactSync(
      tx => {
        for (let row = first; row < Math.min(rows, first + BATCH); row++)
          tx.put(table, rowKey(row), rowValue(row, round))
      },
      { durability: 'none' },
    )
    if ((first / BATCH) % 20 === 0) await new Promise(resolve => setImmediate(resolve))
  }
}

async function main(): Promise<void> {
  const work = argument<RewriterWork>()
  const engine = await openEngine(work.directory, work.engine)
  for (let round = work.from; round <= work.to; round++) {
    await rewrite(engine, work.rows, round)
    await report(round)
  }
  await engine.close()
}

if (process.argv[2] !== undefined && process.send !== undefined) runPeer(main)
