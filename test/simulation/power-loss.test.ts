/** A power failure at every operation of a workload on the simulated disk; see simulation.ts. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { expect, test } from 'vitest'
import { simulate } from './simulation.js'

// A seed's failures are too many for every run: a few seeds, and some of their operations. `npm run simulate` takes all.
test('a power failure at any operation leaves every acknowledged commit, and no part of another', {
  timeout: 120_000,
}, async () => {
  const first = testSeed()
  let failures = 0
  for (let seed = first; seed < first + 3; seed++) {
    const result = await simulate({ seed, steps: 25, stride: 9, bulky: false }).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    })
    failures += result.failures
  }
  expect(failures).toBeGreaterThan(20)
})
