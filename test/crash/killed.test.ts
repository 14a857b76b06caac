/** A process killed at each named point of its work leaves the others going. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pointsOf } from './points.js'
import { Scene } from './victims.js'

const TEST_MS_MAX = 60_000
/** Where it matters which of a commit's changes it was. */
const IN_THE_MIDDLE = new Set(['mtr.saved', 'mtr.edited', 'mtr.releasing', 'mtr.even'])

const seed = testSeed()
const scene = new Scene(seed)
const names = pointsOf('running')

describe(`a process killed at a named point (seed ${seed})`, () => {
  beforeAll(() => scene.open())
  afterAll(() => scene.crew.end())

  for (const name of names) {
    it(
      `at ${name}: the others carry on with all that they hold`,
      async () => {
        try {
          for (let death = 0; death < (IN_THE_MIDDLE.has(name) ? 4 : 1); death++) {
            const victim = await scene.victim(name, 'kill', death)
            expect(await victim.exited).toBe('SIGKILL')
            await scene.goesOn()
          }
        } catch (error) {
          await scene.renew()
          throw error
        }
      },
      TEST_MS_MAX,
    )
  }

  it('every point was reached', () => {
    expect([...scene.reached].sort()).toEqual(names)
  })

  it(
    'afterwards everything closes and opens in order',
    async () => {
      await scene.finish()
      console.log(`longest operation of the survivor: ${scene.longestMs.toFixed(1)} ms`)
    },
    TEST_MS_MAX,
  )
})
