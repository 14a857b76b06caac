import { describe, expect, it } from 'vitest'
import { createIdGenerator } from './ids.js'

describe('generated ids', () => {
  it('grow within a thread, also when the clock stands still or goes back', () => {
    let now = 1_700_000_000_000
    const create = createIdGenerator(() => now)
    const ids: string[] = []
    for (let i = 0; i < 5000; i++) {
      if (i % 7 === 0) now += (i % 3) - 1
      ids.push(create())
    }
    expect([...ids].sort()).toEqual(ids)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.every(id => /^[0-9A-Z_a-z~]{18}$/.test(id))).toBe(true)
  })

  it('order by time across threads, and differ within the same millisecond', () => {
    const early = createIdGenerator(() => 1000, 'zzzzzz')
    const late = createIdGenerator(() => 1001, '000000')
    expect(early() < late()).toBe(true)
    const one = createIdGenerator(() => 5)
    const two = createIdGenerator(() => 5)
    expect(one()).not.toBe(two())
  })
})
