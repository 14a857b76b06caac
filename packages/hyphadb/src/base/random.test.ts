import { describe, expect, it } from 'vitest'
import { ManualClock, realClock } from './clock.js'
import { randomHex, randomNumber, randomWord, SeededRandom, testSeed } from './random.js'

describe('SeededRandom', () => {
  it('repeats from its seed, and differs between seeds', () => {
    const first = Array.from(
      { length: 50 },
      (
        (random: SeededRandom) => () =>
          random.uint32()
      )(new SeededRandom(7)),
    )
    const again = Array.from(
      { length: 50 },
      (
        (random: SeededRandom) => () =>
          random.uint32()
      )(new SeededRandom(7)),
    )
    const other = Array.from(
      { length: 50 },
      (
        (random: SeededRandom) => () =>
          random.uint32()
      )(new SeededRandom(8)),
    )
    expect(again).toEqual(first)
    expect(other).not.toEqual(first)
  })

  it('never changes its sequence: recorded seeds must keep their meaning', () => {
    const random = new SeededRandom(1)
    expect([random.uint32(), random.uint32(), random.uint32()]).toEqual([393288148, 2174103013, 3814759091])
  })

  it('spreads evenly enough for tests', () => {
    const random = new SeededRandom(testSeed())
    const counts = new Array<number>(10).fill(0)
    for (let i = 0; i < 20_000; i++) counts[random.below(10)]!++
    for (const count of counts) expect(Math.abs(count - 2000), `seed ${random.seed}`).toBeLessThan(300)
  })

  it('stays within bounds, shuffles without loss and forks independently', () => {
    const random = new SeededRandom(testSeed())
    for (let i = 0; i < 1000; i++) {
      const value = random.between(3, 5)
      expect(value >= 3 && value <= 5, `seed ${random.seed}`).toBe(true)
    }
    const items = Array.from({ length: 20 }, (_, i) => i)
    expect(random.shuffle([...items]).sort((a, b) => a - b)).toEqual(items)
    expect(items).toContain(random.pick(items))
    expect(random.bytes(10)).toHaveLength(10)
    expect(random.fork().uint32()).not.toBe(random.uint32())
    expect(() => random.pick([])).toThrow('empty')
  })

  it('refuses a seed that is no number', () => {
    const before = process.env['HYPHA_SEED']
    try {
      process.env['HYPHA_SEED'] = 'x'
      expect(() => testSeed()).toThrow('HYPHA_SEED')
      process.env['HYPHA_SEED'] = '42'
      expect(testSeed()).toBe(42)
    } finally {
      if (before === undefined) delete process.env['HYPHA_SEED']
      else process.env['HYPHA_SEED'] = before
    }
  })
})

describe('identities', () => {
  it('fit the words that they are kept in and are never zero', () => {
    for (let i = 0; i < 100; i++) {
      const word = randomWord()
      expect(word > 0 && word === (word | 0)).toBe(true)
      const number = randomNumber()
      expect(number > 0 && Number.isSafeInteger(number)).toBe(true)
    }
    expect(randomHex(8)).toMatch(/^[0-9a-f]{16}$/)
  })
})

describe('clocks', () => {
  it('a manual clock moves only when told, and its wall clock may jump', () => {
    const clock = new ManualClock(1000)
    clock.advance(5)
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1005, 5])
    clock.jump(10)
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([10, 5])
  })

  it('the real one tells the time', () => {
    expect(Math.abs(realClock.nowMs() - Date.now())).toBeLessThan(1000)
    const before = realClock.monotonicMs()
    expect(realClock.monotonicMs()).toBeGreaterThanOrEqual(before)
  })
})
