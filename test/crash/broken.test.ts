/** An exception, a stack overflow or a refused allocation at each named point: the process itself goes on. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Member } from './crew.js'
import { passagesBefore, pointsOf } from './points.js'
import type { EndureResult, TryWriteResult } from './protocol.js'
import { Scene } from './victims.js'

const TEST_MS_MAX = 60_000
/** What breaks in the middle of a write to the log is a failed write: the database takes no more of them until it is reopened. */
const POISONING = new Set(['log-write-piece'])

const seed = testSeed()
const scene = new Scene(seed)

describe(`a fault at a named point (seed ${seed})`, () => {
  let worker: Member

  const begin = async (): Promise<void> => {
    worker = await scene.crew.open('worker', 'writer', { care: true })
  }
  beforeAll(async () => {
    await scene.open()
    await begin()
  })
  afterAll(() => scene.crew.end())

  for (const action of ['throw', 'stack', 'memory'] as const) {
    for (const name of pointsOf('running').filter(point => !POISONING.has(point))) {
      it(
        `${action} at ${name}: the process goes on, and so do the others`,
        async () => {
          try {
            // Reached only while the data file is small.
            if (name === 'allocator.extended' && action !== 'throw') {
              await scene.renew()
              await begin()
            }
            const count = passagesBefore(name, seed)
            const result = await worker.ask<EndureResult>({ type: 'endure', name, count, action, transactions: 12 })
            expect(result).toEqual({ reached: true, errors: [] })
            await scene.crew.check(worker)
            await scene.goesOn()
          } catch (error) {
            await scene.renew()
            await begin()
            throw error
          }
        },
        TEST_MS_MAX,
      )
    }
  }

  for (const name of POISONING) {
    it(
      `throw at ${name}: nothing more is written until the database is opened again, and then everything is there`,
      async () => {
        const result = await worker.ask<EndureResult>({
          type: 'endure',
          name,
          count: 1,
          action: 'throw',
          transactions: 12,
        })
        expect(result.reached).toBe(true)
        expect(result.errors.every(error => error.includes('opened anew') || error.includes('open it again'))).toBe(
          true,
        )
        expect(await scene.survivor.ask<TryWriteResult>({ type: 'tryWrite' })).toMatchObject({
          ok: false,
          code: 'HYPHA_POISONED',
        })
        expect(await scene.survivor.ask<boolean>({ type: 'held' })).toBe(true)
        await worker.close()
        await scene.survivor.close()
        scene.survivor = await scene.crew.open('survivor', 'writer')
        await scene.survivor.ask({ type: 'hold' })
        await begin()
        await scene.goesOn()
      },
      TEST_MS_MAX,
    )
  }

  it(
    'afterwards everything closes and opens in order',
    async () => {
      await worker.close()
      await scene.finish()
    },
    TEST_MS_MAX,
  )
})
