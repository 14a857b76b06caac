import { expect, test } from 'vitest'
import { SeededRandom, testSeed } from '../base/random.js'
import { KeyIndex, KeySet } from './key-sets.js'
import { WriteSet } from './write-set.js'

function someKey(random: SeededRandom): Buffer {
  // Few different bytes and lengths around the limits, so that equal keys and equal beginnings are common.
  const length = random.chance(0.1) ? random.between(90, 140) : random.below(6)
  return Buffer.from(Array.from({ length }, () => random.below(3)))
}

test('a key set holds what a set of texts would', () => {
  const random = new SeededRandom(testSeed())
  const set = new KeySet()
  const model = new Set<string>()
  for (let i = 0; i < 5000; i++) {
    const key = someKey(random)
    const name = key.toString('latin1')
    expect(set.has(key)).toBe(model.has(name))
    expect(set.add(key)).toBe(!model.has(name))
    key.fill(255) // the set keeps a copy
    model.add(name)
  }
  expect([...set].map(key => key.toString('latin1'))).toEqual([...model])
})

test('a key index finds the position of every key', () => {
  const random = new SeededRandom(testSeed())
  const keys: Buffer[] = []
  const index = new KeyIndex(position => keys[position] as Buffer)
  for (let i = 0; i < 5000; i++) {
    const key = someKey(random)
    const known = keys.findIndex(each => each.equals(key))
    expect(index.find(key)).toBe(known)
    if (known >= 0) continue
    keys.push(key)
    index.add(key)
  }
})

test.each(['ascending', 'random'])('a write set keeps the last write of each key, %s', order => {
  const random = new SeededRandom(testSeed())
  const keys = Array.from({ length: 2000 }, () => someKey(random))
  if (order === 'ascending') keys.sort((a, b) => Buffer.compare(a, b))
  const writes = new WriteSet()
  const model = new Map<string, number>()
  keys.forEach((key, i) => {
    writes.set(1, key, Buffer.from([i & 255]), false)
    model.set(key.toString('latin1'), i & 255)
  })
  expect(writes.size).toBe(model.size)
  for (const [name, value] of model) expect(writes.find(1, Buffer.from(name, 'latin1'))?.value?.[0]).toBe(value)
  expect(writes.find(2, keys[0] as Buffer)).toBeUndefined()
  const sorted = [...model.keys()].map(name => Buffer.from(name, 'latin1')).sort((a, b) => Buffer.compare(a, b))
  expect(writes.inRange(1, {}).map(write => Buffer.from(write.key))).toEqual(sorted)
})
