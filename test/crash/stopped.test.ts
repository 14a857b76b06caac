/** A process stopped at each named point of its work: readers go on, writers go on or are told who stands in the way. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Member } from './crew.js'
import { pointsOf } from './points.js'
import type { LatchHolders, Progress, ReadResult, TryWriteResult } from './protocol.js'
import { Scene } from './victims.js'

const TEST_MS_MAX = 60_000
const BUSY_TIMEOUT_MS = 250
const BUSY_MS_MAX = 2000
/** A reader's batch of 50 reads beside a stopped process, on a machine that has other things to do. */
const READ_MS_MAX = 400

const seed = testSeed()
const scene = new Scene(seed, BUSY_TIMEOUT_MS)

/** While the victim is stopped. */
async function othersManage(victim: Member): Promise<void> {
  const { survivor } = scene
  const read = await survivor.ask<ReadResult>({ type: 'read', milliseconds: 30 })
  expect(read.errors).toEqual([])
  expect(read.longestMs).toBeLessThan(READ_MS_MAX)
  expect(await survivor.ask<boolean>({ type: 'held' })).toBe(true)
  const holders = await survivor.ask<LatchHolders>({ type: 'latches' })
  const written = await survivor.ask<TryWriteResult>({ type: 'tryWrite' })
  expect(written.milliseconds).toBeLessThan(BUSY_MS_MAX)
  const stuck = Object.values(holders).includes(victim.pid)
  if (holders.commit === victim.pid) expect(written).toMatchObject({ ok: false, code: 'HYPHA_BUSY' })
  if (!stuck) expect(written).toMatchObject({ ok: true })
  if (!written.ok) {
    expect(written.code).toBe('HYPHA_BUSY')
    expect(written.message).toContain(String(victim.pid))
  }
  const after = await survivor.ask<ReadResult>({ type: 'read', milliseconds: 10 })
  expect(after.errors).toEqual([])
}

describe(`a process stopped at a named point (seed ${seed})`, () => {
  let victim: Member

  const begin = async (): Promise<void> => {
    victim = await scene.crew.open('victim', 'writer', { care: true })
  }
  beforeAll(async () => {
    await scene.open()
    await begin()
  })
  afterAll(() => scene.crew.end())

  for (const name of pointsOf('running')) {
    it(
      `at ${name}: the others manage, and all is well when it continues`,
      async () => {
        try {
          await scene.strike(victim, name, 'stop')
          await othersManage(victim)
          victim.signal('SIGCONT')
          await new Promise(resolve => setTimeout(resolve, 20))
          await victim.ask({ type: 'pause' })
          await scene.goesOn()
          const { errors } = await victim.ask<Progress>({ type: 'progress' })
          expect(errors).toEqual([])
          await scene.crew.check(victim)
        } catch (error) {
          await scene.renew()
          await begin()
          throw error
        }
      },
      TEST_MS_MAX,
    )
  }

  it(
    'afterwards everything closes and opens in order',
    async () => {
      await victim.close()
      await scene.finish()
    },
    TEST_MS_MAX,
  )
})
