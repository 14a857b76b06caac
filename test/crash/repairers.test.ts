/** A process killed, or stopped, while it repairs what another dead one left. */
import { testSeed } from 'hyphadb/internal/base/random.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Died, type Member } from './crew.js'
import { pointsOf } from './points.js'
import type { ReadResult, TryWriteResult } from './protocol.js'
import { Scene } from './victims.js'

const TEST_MS_MAX = 60_000
const seed = testSeed()
const names = pointsOf('repairing')
/**
 * Where the first one dies (before and behind the commit point, in each state of a mini-transaction), and where those die
 * who repair what it left: in repair itself, and in the middle of rolling forward.
 */
const CHAINS: readonly (readonly [string, readonly string[]])[] = [
  ['allocator.half', ['repair.begin', 'repair.latches', 'repair.end']],
  ['commit.appending', ['repair.begin', 'repair.latches', 'repair.undone']],
  ['commit.after-point', ['repair.redone', 'mtr.saved', 'commit.published']],
  ['mtr.locked', ['repair.restored', 'repair.undone', 'mtr.edited']],
  ['mtr.allocated', ['repair.restored', 'repair.redone', 'mtr.even']],
  ['mtr.saved', ['repair.restored', 'repair.undone', 'mtr.saved']],
  ['mtr.even', ['repair.undone', 'repair.redone', 'repair.end']],
]

describe(`repair that is cut off (seed ${seed})`, () => {
  const scene = new Scene(seed)
  beforeAll(() => scene.open())
  afterAll(() => scene.crew.end())
  const reached = new Set<string>()

  /** Both are there; the first dies at its point, and the second is asked to write, which makes it repair. */
  const cutOff = async (first: string, second: string, action: 'kill' | 'stop'): Promise<Member> => {
    const repairer = await scene.crew.open('repairer', 'writer')
    const victim = await scene.victim(first, 'kill')
    await victim.exited
    await repairer.ask({ type: 'arm', name: second, count: 1, action })
    const written = repairer.ask({ type: 'write', transactions: 1, durability: 'none' }).catch((error: unknown) => {
      if (!(error instanceof Died)) throw error
    })
    if (action === 'kill') await written
    else for (let i = 0; i < 1000 && repairer.state !== 'T'; i++) await new Promise(resolve => setTimeout(resolve, 2))
    if (repairer.hasExited || repairer.state === 'T') reached.add(second)
    return repairer
  }

  for (const [first, seconds] of CHAINS) {
    it(
      `after a death at ${first}: killed in repair, and the third carries on`,
      async () => {
        try {
          for (const second of seconds) {
            const repairer = await cutOff(first, second, 'kill')
            await scene.goesOn()
            if (!repairer.hasExited) await repairer.close()
          }
        } catch (error) {
          await scene.renew()
          throw error
        }
      },
      TEST_MS_MAX,
    )
  }

  it('every point of repair was reached', () => {
    expect(names.filter(name => !reached.has(name))).toEqual([])
  })

  for (const name of names) {
    it(
      `stopped at ${name}: the third reads, and all is well when it continues`,
      async () => {
        try {
          const repairer = await cutOff('mtr.saved', name, 'stop')
          expect(repairer.state).toBe('T')
          const read = await scene.survivor.ask<ReadResult>({ type: 'read', milliseconds: 20 })
          expect(read.errors).toEqual([])
          const writing = scene.survivor.ask<TryWriteResult>({ type: 'tryWrite' })
          await new Promise(resolve => setTimeout(resolve, 50))
          repairer.signal('SIGCONT')
          expect(await writing).toMatchObject({ ok: true })
          await scene.goesOn()
          await repairer.close()
        } catch (error) {
          await scene.renew()
          throw error
        }
      },
      TEST_MS_MAX,
    )
  }

  it(
    'afterwards everything closes and opens in order',
    async () => {
      await scene.finish()
    },
    TEST_MS_MAX,
  )
})
