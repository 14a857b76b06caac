/** The builder of the next generation dies at each of its points: the next one to come builds, and nothing is lost. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Crew } from './crew.js'

const POINTS = [
  'generation.locked',
  'generation.quiet',
  'generation.salvaged',
  'open.building',
  'recovery.redone',
  'recovery.replayed',
  'recovery.run-begun',
  'open.live',
  'open.named',
]

describe('a builder that dies', () => {
  let crew: Crew
  beforeEach(() => {
    crew = new Crew()
  })
  afterEach(() => crew.end())

  it('at any of its points leaves the others to build', async () => {
    const care = { housekeeping: 'none' as const }
    const stay = await crew.open('stay', care)
    await stay.ask({ type: 'fill' })
    await stay.ask({ type: 'checkpoint' })
    const { name } = await stay.standing()
    for (const [i, point] of POINTS.entries()) {
      const builder = await crew.open(`b${i}`, care)
      for (let n = 0; n < 3; n++) {
        await builder.ask({ type: 'once', durability: 'none' })
        await stay.ask({ type: 'once', durability: 'none' })
      }
      await builder.arm({ name: point, count: 1, action: 'kill' })
      void builder.ask({ type: 'renew' })
      expect(await builder.exited, `killed at ${point}`).toBe('SIGKILL')
      if (i % 4 === 2) {
        const comer = await crew.open(`c${i}`, care)
        expect(await comer.try({ type: 'once', durability: 'commit' }), point).toMatchObject({ code: '' })
        await crew.check(comer)
        await comer.close()
      }
      expect(await stay.try({ type: 'once', durability: 'commit' }), point).toMatchObject({ code: '' })
      if (i % 3 === 2) await crew.check(stay)
      expect(crew.regions(Crew.prefixOf(name)), `regions after a death at ${point}`).toHaveLength(1)
    }
    await crew.check(stay)
    await stay.close()
    expect(crew.regions(Crew.prefixOf(name))).toEqual([])
  }, 60_000)

  it('with all others leaves the rest to who comes later', async () => {
    const care = { housekeeping: 'none' as const }
    for (const [i, point] of ['generation.salvaged', 'open.live', 'open.named'].entries()) {
      const builder = await crew.open(`b${i}`, care)
      for (let n = 0; n < 5; n++) await builder.ask({ type: 'once', durability: 'none' })
      await builder.arm({ name: point, count: 1, action: 'kill' })
      void builder.ask({ type: 'renew' })
      expect(await builder.exited).toBe('SIGKILL')
      const next = await crew.open(`n${i}`, care)
      await crew.check(next)
      const { name } = await next.standing()
      expect(crew.regions(Crew.prefixOf(name)), `regions after a death at ${point}`).toHaveLength(1)
      await next.close()
      expect(crew.regions(Crew.prefixOf(name))).toEqual([])
    }
  }, 60_000)
})
