/** A slice of the soak (soak.ts); longer ones by its command line. */
import { expect, it } from 'vitest'
import { growing, soak } from './soak.js'

it('data file, log and old versions level off under a steady load', async () => {
  const figures = await soak(10, 2, 5, () => {})
  expect(growing(figures)).toEqual([])
}, 120_000)
