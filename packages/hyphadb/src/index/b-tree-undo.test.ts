import { describe, expect, it, vi } from 'vitest'
import { SeededRandom, testSeed } from '../base/random.js'
import { type KeyKind, keyKinds, ModelledTree, randomKey, randomValue } from './tree-model.test-support.js'

// Generous, as the machine may be busy; each takes a second or two.
vi.setConfig({ testTimeout: 60_000 })

class Death extends Error {}

/** Runs a change that dies at its n-th step, takes it back, compares, and then lets it happen: for every n. */
function dieAtEveryStep(model: ModelledTree, change: () => void): number {
  for (let deadly = 1; ; deadly++) {
    let steps = 0
    model.mtr.onStep = step => {
      // Once a change is final it is finished, not taken back.
      if (['final', 'release', 'end'].includes(step)) return
      if (++steps === deadly) throw new Death()
    }
    try {
      change()
      return deadly - 1
    } catch (error) {
      if (!(error instanceof Death)) throw error
      model.mtr.rollBack()
    } finally {
      model.mtr.onStep = undefined
    }
    model.check()
    if (deadly % 3 === 1) {
      model.compareRange({}, model.sequence)
      model.compareRange({ reverse: true }, Math.max(model.versions.floor, model.sequence - 20))
    }
  }
}

function changeOnce(model: ModelledTree, random: SeededRandom, kind: KeyKind, deletes: number): number {
  const key = randomKey(random, kind, model.pageSize)
  if (random.chance(0.05)) {
    model.versions.trim(random.between(model.versions.floor, model.sequence))
    return dieAtEveryStep(model, () => model.tree.purge(key, key.length))
  }
  const sequence = model.sequence + 1
  const isDelete = random.chance(deletes)
  const { value, flags } = randomValue(random, model.pageSize, key.length)
  const steps = dieAtEveryStep(model, () => {
    if (isDelete) model.tree.delete(key, key.length, sequence)
    else model.tree.put(key, key.length, value, 0, value.length, flags, sequence)
  })
  if (!isDelete) model.record(key, { sequence, value, flags })
  else if (model.visible(key.toString('latin1'), sequence) !== undefined) {
    model.record(key, { sequence, value: undefined, flags: 0 })
  }
  model.sequence = sequence
  return steps
}

describe('a change that dies at any step is taken back without a trace, and can be made again', () => {
  for (const kind of keyKinds) {
    it(`with ${kind} keys`, () => {
      const seed = testSeed()
      const random = new SeededRandom(seed)
      const model = new ModelledTree(4096, 1500, `seed ${seed}`)
      let most = 0
      for (let i = 0; i < 160; i++) most = Math.max(most, changeOnce(model, random, kind, i < 110 ? 0.2 : 0.7))
      model.compareAll(model.sequence)
      model.compareAll(random.between(model.versions.floor, model.sequence))
      expect(most, model.label).toBeGreaterThan(4)
    })
  }

  it('freeing a table goes on where it was interrupted', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 1500, `seed ${seed}`)
    for (let i = 0; i < 900; i++) model.put(random.bytes(12), random.bytes(random.below(300)))
    for (let calls = 0, done = false; !done; calls++) {
      let steps = 0
      const deadly = random.between(1, 80)
      model.mtr.onStep = step => {
        if (['final', 'release', 'end'].includes(step)) return
        if (++steps === deadly) throw new Death()
      }
      try {
        done = model.tree.freeAll(20, () => {})
      } catch (error) {
        if (!(error instanceof Death)) throw error
        model.mtr.rollBack()
      }
      model.mtr.onStep = undefined
      if (!done && calls % 4 === 0) model.check(true)
    }
    expect(model.store.inUse.size, model.label).toBe(0)
  })
})
