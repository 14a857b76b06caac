import { describe, expect, test } from 'vitest'
import { SeededRandom, testSeed } from '../base/random.js'
import { makeRing, viewsOf } from './log-fixture.test.helper.js'
import { POISON_SYNC_FAILED, POISON_WRITE_FAILED } from './ring.js'

const run = { firstSegment: 1, segmentPayload: 8192, saltLow: 1, saltHigh: 2 }

describe('log ring', () => {
  test('what is staged stays until it is written and not kept, and space comes back after', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const ring = makeRing(4096)
    const base = 1_000_003
    ring.begin({ ...run, base, allocatedEnd: base })
    const model = new Map<number, number>()
    let kept = Infinity
    for (let i = 0; i < 800; i++) {
      const space = ring.freeSpace()
      const length = Math.min(space, 1 + random.below(700))
      if (length > 0) {
        const bytes = random.bytes(length + 10)
        const position = ring.tail
        ring.stage(position, bytes, 5, 5 + length)
        for (let k = 0; k < length; k++) model.set(position + k, bytes[5 + k]!)
        ring.publishTail(position + length)
      }
      expect(ring.freeSpace()).toBe(space - length)
      if (random.chance(0.2)) {
        kept = random.chance(0.5) ? Infinity : Math.max(ring.written, ring.tail - random.below(500))
        ring.setKeepFrom(kept)
      }
      const from = Math.min(ring.written, ring.keepFrom)
      ring.view(from, ring.tail - from)
      for (let k = from; k < ring.tail; k++) {
        if (ring.viewBytes[ring.viewStart + k - from] !== model.get(k))
          throw new Error(`byte ${k} changed, seed ${seed}`)
      }
      if (random.chance(0.3)) ring.advanceWritten(ring.tail)
    }
    expect(() => ring.stage(ring.tail, Buffer.alloc(5000), 0, 5000)).toThrow(/free space/)
    expect(() => ring.stage(ring.tail + 1, Buffer.alloc(1), 0, 1)).toThrow(/at the tail/)
  })

  test('the durable position only rises', () => {
    const ring = makeRing(4096)
    ring.begin({ ...run, base: 100, allocatedEnd: 100 })
    ring.stage(100, Buffer.alloc(1000), 0, 1000)
    ring.publishTail(1100)
    expect(() => ring.raiseDurable(200)).toThrow(/written/)
    ring.advanceWritten(1100)
    const signal = ring.memory.i32[ring.durableSignalIndex]!
    ring.raiseDurable(500)
    ring.raiseDurable(300)
    ring.raiseDurable(500)
    expect(ring.durable).toBe(500)
    expect(ring.memory.i32[ring.durableSignalIndex]).toBe(signal + 1)
    expect(() => ring.advanceWritten(1000)).toThrow(/grows/)
  })

  test('publishing the tail is seen through other views, and bumps the signal', () => {
    const bytes = new SharedArrayBuffer(4096 + 4096)
    const one = makeRing(4096, viewsOf(bytes))
    const two = makeRing(4096, viewsOf(bytes))
    one.begin({ ...run, base: 8, allocatedEnd: 8 })
    const signal = two.memory.i32[two.tailSignalIndex]!
    one.stage(8, Buffer.from('hello'), 0, 5)
    expect(two.tail).toBe(8)
    one.publishTail(13)
    expect(two.tail).toBe(13)
    expect(two.memory.i32[two.tailSignalIndex]).toBe(signal + 1)
    two.view(8, 5)
    expect(Buffer.from(two.viewBytes.subarray(two.viewStart, two.viewStart + 5)).toString()).toBe('hello')
  })

  test('the first poison stands', () => {
    const ring = makeRing(4096)
    ring.begin({ ...run, base: 0, allocatedEnd: 0 })
    ring.checkPoison()
    ring.setPoison(POISON_SYNC_FAILED)
    ring.setPoison(POISON_WRITE_FAILED)
    expect(ring.poison).toBe(POISON_SYNC_FAILED)
    expect(() => ring.checkPoison()).toThrow(/sync of the log failed/)
  })

  test('segments follow from positions', () => {
    const ring = makeRing(4096)
    ring.begin({ ...run, base: 1000, firstSegment: 7, allocatedEnd: 1000 })
    expect([1000, 1000 + 8191, 1000 + 8192, 1000 + 3 * 8192].map(p => ring.segmentOf(p))).toEqual([7, 7, 8, 10])
    expect(ring.segmentStart(9)).toBe(1000 + 2 * 8192)
  })
})
