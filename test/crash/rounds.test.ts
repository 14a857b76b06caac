/** Two hundred rounds of killing and stopping processes at random moments. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { describe, expect, it } from 'vitest'
import { runRounds, STALL_MS_MAX } from './rounds.js'

const ROUNDS = 200
const seed = testSeed()

describe(`a crew whose members are killed at random (seed ${seed})`, () => {
  it(`loses nothing in ${ROUNDS} rounds, and who lives goes on`, async () => {
    const result = await runRounds({ seed, goOn: round => round < ROUNDS, checkEvery: 10 })
    console.log(`${JSON.stringify(result)}`)
    expect(result.rounds).toBe(ROUNDS)
    expect(result.longestMs).toBeLessThan(STALL_MS_MAX)
  }, 400_000)
})
