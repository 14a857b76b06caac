/** A broken invariant inside a commit that repair cannot mend: the region is given up, the processes go on. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Crew, pause } from './crew.js'
import type { Outcome } from './protocol.js'

describe('a region that is given up', () => {
  let crew: Crew
  beforeEach(() => {
    crew = new Crew()
  })
  afterEach(() => crew.end())

  for (const second of ['repair.undone', 'repair.redone']) {
    it(`a commit that breaks at commit.after-point and again at ${second} is there once, and all go on`, async () => {
      const [a, b, c] = [await crew.open('a'), await crew.open('b'), await crew.open('c')]
      await a.ask({ type: 'fill' })
      for (const member of [a, b, c]) await member.ask({ type: 'begin' })
      await pause(200)
      const before = await b.ask<number>({ type: 'take' })
      await c.ask({ type: 'holdTransaction' })
      const old = await a.standing()
      await a.ask({ type: 'armPlain', names: ['commit.after-point', second] })
      await pause(700)
      for (const member of [a, b, c]) await member.rest()
      const held = await b.try({ type: 'held' })
      expect(held.code).toBe('HYPHA_SNAPSHOT_TOO_OLD')
      expect((await b.try({ type: 'letGo' })).code).toBe('')
      const again = await c.ask<Outcome & { calls: number }>({ type: 'releaseTransaction' })
      expect(again.code).toBe('')
      expect(again.calls).toBeGreaterThan(1)
      for (const member of [a, b, c]) {
        expect(await member.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
        expect((await member.standing()).generation).toBe(old.generation + 1)
      }
      expect(await b.ask<number>({ type: 'take' })).toBeGreaterThan(before)
      expect((await b.try({ type: 'held' })).code).toBe('')
      expect((await a.standing()).frames).toBe(64)
      await crew.check(a)
      await crew.check(c)
      for (const member of [a, b]) await member.close()
      await c.close()
      expect(crew.regions(Crew.prefixOf(old.name))).toEqual([])
    })
  }

  it('what the repairer of a dead one cannot mend is a new generation too', async () => {
    const [a, b] = [await crew.open('a', { housekeeping: 'none' }), await crew.open('b', { housekeeping: 'none' })]
    await a.ask({ type: 'fill' })
    for (let i = 0; i < 5; i++) await a.ask({ type: 'once', durability: 'none' })
    await b.ask({ type: 'armPlain', names: ['repair.redone'] })
    await a.arm({ name: 'commit.after-point', count: 1, action: 'kill' })
    void a.ask({ type: 'once', durability: 'none' }).catch(() => undefined)
    await a.exited
    expect(await b.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
    expect((await b.standing()).generation).toBe(2)
    await crew.check(b)
    const c = await crew.open('c')
    await crew.check(c)
  })
})
