/** A process killed, or stopped, while it builds the next generation of the region: the others build or join it. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Crew, type Member, SMALL } from './crew.js'
import { pointsOf } from './points.js'
import type { TryWriteResult } from './protocol.js'

const TEST_MS_MAX = 60_000
const seed = testSeed()

describe(`a generation switch that is cut off (seed ${seed})`, () => {
  let crew: Crew
  let survivor: Member
  beforeAll(async () => {
    crew = new Crew(seed, { ...SMALL, housekeeping: 'none' })
    survivor = await crew.open('survivor', 'writer')
    await survivor.ask({ type: 'write', transactions: 25, durability: 'none' })
  })
  afterAll(() => crew.end())

  /** The builder gives the region up and goes on to the next generation until it is at the point. */
  const builderReaches = async (name: string, action: 'kill' | 'stop'): Promise<Member> => {
    const builder = await crew.open('builder', 'writer')
    await builder.ask({ type: 'write', transactions: 5, durability: 'none' })
    await builder.ask({ type: 'arm', name, count: 1, action })
    builder.ask({ type: 'renew' }).catch(() => undefined)
    for (let i = 0; i < 5000 && !builder.hasExited && builder.state !== 'T'; i++)
      await new Promise(resolve => setTimeout(resolve, 2))
    expect(action === 'kill' ? builder.hasExited : builder.state === 'T', `${name} was not reached`).toBe(true)
    return builder
  }

  for (const name of pointsOf('switching')) {
    it(
      `killed at ${name}: the others build the next generation`,
      async () => {
        await builderReaches(name, 'kill')
        expect(await survivor.ask<TryWriteResult>({ type: 'tryWrite' })).toMatchObject({ ok: true })
        await crew.check(survivor)
        const third = await crew.open('third', 'writer')
        await crew.check(third)
        await third.close()
      },
      TEST_MS_MAX,
    )

    it(
      `stopped at ${name}: the others wait, and go on with it when it continues`,
      async () => {
        const builder = await builderReaches(name, 'stop')
        const writing = survivor.ask<TryWriteResult>({ type: 'tryWrite' })
        await new Promise(resolve => setTimeout(resolve, 100))
        builder.signal('SIGCONT')
        expect(await writing).toMatchObject({ ok: true })
        await crew.check(survivor)
        await crew.check(builder)
        await builder.close()
      },
      TEST_MS_MAX,
    )
  }

  it(
    'afterwards everything closes and opens in order',
    async () => {
      await survivor.close()
      expect(crew.sharedMemory()).toEqual([])
      const next = await crew.open('next', 'idle')
      await crew.check(next)
      await next.close()
    },
    TEST_MS_MAX,
  )
})
