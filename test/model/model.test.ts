/** Random operations against a plain map, through the whole engine: see driver.ts. HYPHA_SEED repeats a run. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { describe, it } from 'vitest'
import { runModel } from './model-run.js'

const base = testSeed()
const runs = Number(process.env['HYPHA_SEEDS'] ?? 0)

async function rounds(count: number, run: { processes: number; operations: number; pageSize: number }): Promise<void> {
  for (let i = 0; i < (runs > 0 ? runs : count); i++) await runModel({ ...run, seed: base + i * 1000 })
}

describe('the engine answers like a plain map', () => {
  it('in one process, with pages of 4 KiB', () => rounds(3, { processes: 1, operations: 800, pageSize: 4096 }), 600_000)
  it(
    'in one process, with pages of 16 KiB',
    () => rounds(1, { processes: 1, operations: 800, pageSize: 16384 }),
    600_000,
  )
  it(
    'in one process, with pages of 64 KiB',
    () => rounds(1, { processes: 1, operations: 600, pageSize: 65536 }),
    600_000,
  )
  it('in two processes', () => rounds(1, { processes: 2, operations: 600, pageSize: 4096 }), 600_000)
  it('in four processes', () => rounds(1, { processes: 4, operations: 400, pageSize: 4096 }), 600_000)
})
