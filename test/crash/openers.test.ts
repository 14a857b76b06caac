/** All died; the next one to open dies too, at each named point of recovery and of closing. The one after it finds all. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Crew, SMALL } from './crew.js'
import { pointsOf } from './points.js'

const TEST_MS_MAX = 60_000
const seed = testSeed()
const names = pointsOf('opening')
const closing = pointsOf('running').filter(name =>
  /^(checkpoint|flush|log-sync|allocator\.(intent|half|listed))/.test(name),
)

describe(`recovery and closing that are cut off (seed ${seed})`, () => {
  let crew: Crew
  beforeAll(() => {
    crew = new Crew(seed, { ...SMALL, housekeeping: 'none' })
  })
  afterAll(() => crew.end())

  /** Everybody dies with commits that are nowhere but in memory. */
  const everybodyDies = async (): Promise<void> => {
    const writer = await crew.open('writer', 'writer')
    await crew.check(writer)
    await writer.ask({ type: 'write', transactions: 15, durability: 'none' })
    await writer.ask({ type: 'checkpoint' })
    await writer.ask({ type: 'write', transactions: 40, durability: 'none' })
    await writer.kill()
  }

  /** Opens and dies at the point. */
  const diesAt = async (name: string, count: number): Promise<void> => {
    const opener = crew.start('opener', 'writer', { fault: `${name}:${count}:kill` })
    await Promise.race([opener.exited, opener.ready.catch(() => undefined)])
    if (opener.hasExited) return expect(await opener.exited).toBe('SIGKILL')
    await opener.kill()
    throw new Error(`opening did not reach ${name} for the time ${count} (seed ${seed})`)
  }

  const nextOneFindsAll = async (): Promise<void> => {
    const next = await crew.open('next', 'writer')
    await crew.check(next)
    // A control file and its like of one region: what those had built who died is gone.
    expect(new Set(crew.sharedMemory().map(name => name.split('.')[0])).size).toBe(1)
    await next.ask({ type: 'write', transactions: 5, durability: 'commit' })
    await next.close()
    expect(crew.sharedMemory()).toEqual([])
  }

  for (const name of names) {
    it(
      `killed at ${name}: the next one finds everything`,
      async () => {
        for (const count of name === 'recovery.redone' ? [1, 17] : [1]) {
          await everybodyDies()
          await diesAt(name, count)
          await nextOneFindsAll()
        }
      },
      TEST_MS_MAX,
    )
  }

  it(
    'killed at every point one after the other: the last one finds everything',
    async () => {
      await everybodyDies()
      for (const name of names) await diesAt(name, 1).catch(() => undefined)
      await nextOneFindsAll()
    },
    TEST_MS_MAX,
  )

  for (const name of names) {
    it(
      `stopped at ${name}: the next one waits, and both have it open when the first continues`,
      async () => {
        await everybodyDies()
        const opener = crew.start('opener', 'writer', { fault: `${name}:1:stop` })
        for (let i = 0; i < 4000 && opener.state !== 'T'; i++) await new Promise(resolve => setTimeout(resolve, 2))
        expect(opener.state).toBe('T')
        const second = crew.start('second', 'writer')
        await new Promise(resolve => setTimeout(resolve, 150))
        opener.signal('SIGCONT')
        await Promise.all([opener.ready, second.ready])
        await crew.check(second)
        await opener.close()
        await second.close()
        await nextOneFindsAll()
      },
      TEST_MS_MAX,
    )
  }

  for (const name of closing) {
    it(
      `killed at ${name} while closing: the next one finds everything`,
      async () => {
        const writer = await crew.open('writer', 'writer')
        await writer.ask({ type: 'write', transactions: 20, durability: 'none' })
        await writer.ask({ type: 'arm', name, count: 1, action: 'kill' })
        writer.ask({ type: 'close' }).catch(() => undefined)
        expect(await writer.exited).toBe('SIGKILL')
        await nextOneFindsAll()
      },
      TEST_MS_MAX,
    )
  }
})
