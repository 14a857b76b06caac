/** A slice of the soak (soak.ts); longer ones by its command line. */
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { expect, it } from 'vitest'
import { inTemporaryDirectory } from './processes.js'
import { growing, soak } from './soak.js'

it('data file, log and old versions level off under a steady load', async () => {
  const figures = await soak(10, 2, 5, () => {})
  expect(growing(figures)).toEqual([])
}, 120_000)

it('a queue that many rows have passed through takes no more pages than the rows in it', async () => {
  await inTemporaryDirectory(async directory => {
    const engine = await openEngine(directory, { pageSize: 4096, frames: 64, housekeeping: 'none', durability: 'none' })
    const table = engine.openTable('queue')
    const key = (n: number): Buffer => Buffer.from(`job ${String(n).padStart(10, '0')}`)
    for (let first = 0; first < 20_000; first += 100) {
      engine.transactSync(tx => {
        for (let n = first; n < first + 100; n++) {
          tx.put(table, key(n), Buffer.alloc(60))
          if (n >= 200) tx.delete(table, key(n - 200))
        }
      })
      if (first % 500 === 0) engine.housekeep()
    }
    for (let round = 0; round < 10; round++) engine.housekeep()
    const { pages, faults } = await engine.verify()
    expect(faults).toEqual([])
    expect(engine.latest.count(table, {})).toBe(200)
    // 200 rows of 90 bytes fill five pages; 20,000 ghosts would fill a hundred.
    expect(pages).toBeLessThan(30)
    await engine.close()
  })
}, 60_000)
