import { describe, expect, it, vi } from 'vitest'
import { isHyphaError } from '../base/errors.js'
import { SeededRandom, testSeed } from '../base/random.js'
import { fitsInLeaf, maxKeyLength } from './node-layout.js'
import { type KeyKind, keyKinds, ModelledTree, randomKey, randomRange, randomValue } from './tree-model.test-support.js'

// Generous, as the machine may be busy; each takes a second or two.
vi.setConfig({ testTimeout: 60_000 })

function churn(model: ModelledTree, random: SeededRandom, kind: KeyKind, steps: number, deletes: number): void {
  for (let step = 0; step < steps; step++) {
    const key = randomKey(random, kind, model.pageSize)
    if (random.chance(deletes)) model.delete(key)
    else {
      const { value, flags } = randomValue(random, model.pageSize, key.length)
      model.put(key, value, flags)
    }
    if (random.chance(0.02)) purgeSome(model, random)
  }
}

function purgeSome(model: ModelledTree, random: SeededRandom): void {
  model.versions.trim(random.between(model.versions.floor, model.sequence))
  for (const [page, key] of [...model.ghostHints]) {
    model.ghostHints.delete(page)
    if (model.tree.purge(key, key.length) > 0) model.ghostHints.set(page, key)
  }
}

function compareEverything(model: ModelledTree, random: SeededRandom, kind: KeyKind): void {
  model.check()
  model.compareAll(model.sequence)
  model.compareAll(random.between(model.versions.floor, model.sequence))
  for (let i = 0; i < 12; i++) {
    const sequence = random.between(model.versions.floor, model.sequence)
    const range = randomRange(random, kind, model.pageSize)
    model.compareRange(range, sequence)
    expect(model.tree.count(range, sequence), model.label).toBe(model.names(range, sequence).length)
    const low = randomKey(random, kind, model.pageSize)
    const high = random.chance(0.2) ? undefined : randomKey(random, kind, model.pageSize)
    model.compareChanges(low, high, sequence)
    model.comparePoint(randomKey(random, kind, model.pageSize).toString('latin1'), sequence)
  }
  for (const name of model.rows.keys()) model.compareSequence(name)
}

describe('a tree agrees with a sorted model of its history', () => {
  for (const pageSize of [4096, 16384, 65536]) {
    for (const kind of keyKinds) {
      it(`${kind} keys in pages of ${pageSize}`, () => {
        const seed = testSeed()
        const random = new SeededRandom(seed)
        const model = new ModelledTree(pageSize, pageSize === 4096 ? 3000 : 1000, `seed ${seed}`)
        for (let round = 0; round < 4; round++) {
          churn(model, random, kind, 500, round === 3 ? 0.8 : 0.25)
          compareEverything(model, random, kind)
        }
      })
    }
  }
})

describe('loads in order', () => {
  for (const [name, at] of [
    ['ascending', (i: number) => i],
    ['descending', (i: number) => 99_999 - i],
  ] as const) {
    it(`${name} keys fill the leaves to nine tenths and more`, () => {
      const model = new ModelledTree(16384, 1000, name)
      const value = Buffer.alloc(100, 1)
      for (let i = 0; i < 20_000; i++) {
        const key = Buffer.from(String(at(i)).padStart(16, '0'))
        model.tree.put(key, 16, value, 0, 100, 0, 1)
      }
      const faults: unknown[] = []
      const result = model.tree.check(fault => faults.push(fault))
      expect(faults).toEqual([])
      expect(result.rows).toBe(20_000)
      expect(result.leafFill).toBeGreaterThan(0.9)
    })
  }

  it('ascending runs under several prefixes fill the leaves too', () => {
    const model = new ModelledTree(16384, 1000, 'runs')
    const value = Buffer.alloc(60, 1)
    for (let i = 0; i < 30_000; i++) {
      const key = Buffer.from(`town${i % 7}:${String(i).padStart(10, '0')}`)
      model.tree.put(key, key.length, value, 0, 60, 0, 1)
    }
    expect(model.check().leafFill).toBeGreaterThan(0.9)
  })
})

describe('deleting', () => {
  it('everything gives all pages but the root back', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 3000, `seed ${seed}`)
    for (let i = 0; i < 4000; i++) model.put(random.bytes(12), random.bytes(40))
    for (const name of random.shuffle([...model.rows.keys()])) model.delete(Buffer.from(name, 'latin1'))
    expect(model.check().ghosts).toBeGreaterThan(0)
    model.versions.trim(model.sequence)
    for (let key: Buffer | undefined = Buffer.alloc(0); key !== undefined; ) key = model.tree.sweep(key, 3)
    expect(model.check()).toMatchObject({ rows: 0, ghosts: 0, depth: 1 })
    expect(model.store.inUse.size).toBe(1)
  })

  it('leaves ghosts that are purged only when the floor has reached them', () => {
    const model = new ModelledTree(4096, 100, 'ghost')
    const key = Buffer.from('gone')
    model.put(key, Buffer.from('one'))
    model.delete(key)
    expect(model.tree.purge(key, key.length)).toBe(1)
    expect(model.tree.sequenceOf(key, key.length)).toBe(2)
    expect(model.tree.get(key, key.length, 1)?.toString()).toBe('one')
    model.versions.trim(2)
    expect(model.tree.purge(key, key.length)).toBe(0)
    expect(model.tree.sequenceOf(key, key.length)).toBe(0)
  })

  it('hints lead the housekeeper to every ghost, whatever splits and merges happen in between', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 3000, `seed ${seed}`)
    for (let i = 0; i < 6000; i++) {
      const key = randomKey(random, 'random', 4096)
      if (random.chance(0.4)) model.delete(key)
      else model.put(key, random.bytes(random.below(200)))
    }
    model.versions.trim(model.sequence)
    for (let round = 0; round < 5 && model.ghostHints.size > 0; round++) {
      for (const [page, key] of [...model.ghostHints]) {
        model.ghostHints.delete(page)
        model.tree.purge(key, key.length)
      }
    }
    expect(model.check().ghosts, model.label).toBe(0)
  })
})

describe('merging', () => {
  it('keeps the newest change of either page in sight of validation', () => {
    for (const changed of [0, 59]) {
      const model = new ModelledTree(4096, 100, `row ${changed} changed`)
      const key = (i: number): Buffer => Buffer.from(`row${String(i).padStart(3, '0')}`)
      for (let i = 0; i < 60; i++) model.put(key(i), Buffer.alloc(100))
      expect(model.check().depth).toBe(2)
      for (let i = 1; i < 59; i++) model.delete(key(i))
      const since = model.sequence
      model.put(key(changed), Buffer.alloc(50))
      model.versions.trim(since)
      for (let i = 0; i < 60; i += 5) model.tree.purge(key(i), 6)
      expect(model.check()).toMatchObject({ depth: 1, rows: 2 })
      model.compareChanges(key(0), key(59), since)
      model.compareChanges(key(0), undefined, model.sequence)
      model.compareAll(since)
    }
  })
})

describe('a change that is applied twice', () => {
  it('is recognised by its sequence, and so is an older one', () => {
    const model = new ModelledTree(4096, 100, 'twice')
    const key = Buffer.from('key')
    model.put(key, Buffer.from('a'))
    model.put(key, Buffer.from('b'))
    const pushes = model.versions.pushes
    expect(model.tree.put(key, 3, Buffer.from('b'), 0, 1, 0, 2)).toBe(false)
    expect(model.tree.put(key, 3, Buffer.from('a'), 0, 1, 0, 1)).toBe(false)
    expect(model.tree.delete(key, 3, 2)).toBe(false)
    model.delete(key)
    expect(model.tree.delete(key, 3, 3)).toBe(false)
    expect(model.versions.pushes).toBe(pushes + 1)
    model.compareAll(1)
    model.compareAll(2)
    model.compareAll(3)
  })
})

describe('limits', () => {
  it('refuses keys and values that do not fit, and says what to do', () => {
    for (const pageSize of [4096, 16384, 65536]) {
      const model = new ModelledTree(pageSize, 100, 'limits')
      const longest = Buffer.alloc(maxKeyLength(pageSize), 'k')
      model.put(longest, Buffer.from('v'))
      const tooLong = Buffer.alloc(longest.length + 1, 'k')
      const put = (key: Buffer, length: number) =>
        model.tree.put(key, key.length, Buffer.alloc(length), 0, length, 0, 99)
      expect(() => put(tooLong, 0)).toThrowError(/too long/)
      let most = 0
      while (fitsInLeaf(pageSize, 3, most + 1)) most++
      expect(most).toBeGreaterThan((pageSize >> 2) - 40)
      put(Buffer.from('big'), most)
      try {
        put(Buffer.from('big'), most + 1)
        expect.unreachable()
      } catch (error) {
        expect(isHyphaError(error, 'HYPHA_INVALID')).toBe(true)
      }
      expect(model.tree.delete(tooLong, tooLong.length, 100)).toBe(false)
      expect(model.tree.get(tooLong, tooLong.length, 100)).toBe(undefined)
      expect(model.tree.sequenceOf(tooLong, tooLong.length)).toBe(0)
    }
  })

  it('the largest rows and the longest keys fit together, in any order', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 3000, `seed ${seed}`)
    for (let i = 0; i < 400; i++) {
      const length = maxKeyLength(4096)
      const shared = random.below(length)
      const key = Buffer.concat([Buffer.alloc(shared, random.pick(['a', 'b'])), random.bytes(length - shared)])
      let most = 0
      while (fitsInLeaf(4096, key.length, most + 8)) most += 8
      model.put(key, random.bytes(random.chance(0.7) ? most : 0))
    }
    model.check()
    model.compareAll(model.sequence)
  })
})

describe('freeing a dropped table', () => {
  it('goes page by page, leaves a whole tree at any moment, and hands out every overflow reference', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 3000, `seed ${seed}`)
    churn(model, random, 'mixed', 3000, 0.1)
    const expected = new Set<string>()
    model.tree.check(
      () => {},
      reference => expected.add(reference.toString('hex')),
    )
    const seen = new Set<string>()
    for (;;) {
      const before = model.store.inUse.size
      const done = model.tree.freeAll(10, reference => seen.add(reference.toString('hex')))
      expect(before - model.store.inUse.size).toBeLessThanOrEqual(24)
      if (done) break
      expect(model.store.inUse.size).toBeLessThan(before)
      model.check(true)
    }
    expect(model.store.inUse.size, model.label).toBe(0)
    expect([...seen].sort()).toEqual([...expected].sort())
  })
})
