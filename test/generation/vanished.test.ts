/** The names of the region vanish from shared memory while processes have it mapped. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Crew, pause } from './crew.js'

describe('names that vanish from shared memory', () => {
  let crew: Crew
  beforeEach(() => {
    crew = new Crew()
  })
  afterEach(() => crew.end())

  it('three processes at work go on in a new generation, and a fourth one can join', async () => {
    const members = [await crew.open('a'), await crew.open('b'), await crew.open('c')]
    const [a] = members as [(typeof members)[0]]
    await a.ask({ type: 'fill' })
    for (const member of members) await member.ask({ type: 'begin' })
    await pause(300)
    const old = await a.standing()
    crew.removeNames(old.name)
    await pause(2500)
    const d = await crew.open('d')
    await d.ask({ type: 'begin' })
    await pause(200)
    for (const member of [...members, d]) await member.rest()
    for (const member of [...members, d]) expect((await member.standing()).generation).toBe(old.generation + 1)
    await crew.check(a)
    await crew.check(d)
    expect(crew.regions(Crew.prefixOf(old.name))).toHaveLength(1)
  })

  it('processes that do nothing go on as well', async () => {
    const [a, b] = [await crew.open('a'), await crew.open('b')]
    await a.ask({ type: 'once', durability: 'none' })
    const old = await a.standing()
    crew.removeNames(old.name)
    await pause(2500)
    const c = await crew.open('c')
    expect((await c.standing()).generation).toBe(old.generation + 1)
    expect(await b.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
    await crew.check(c)
    await crew.check(a)
    expect((await a.standing()).generation).toBe(old.generation + 1)
    expect((await c.standing()).frames).toBe(old.frames)
  })
})
