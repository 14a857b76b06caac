import { describe, expect, it, vi } from 'vitest'
import { isHyphaError } from '../base/errors.js'
import { SeededRandom, testSeed } from '../base/random.js'
import { PageMemory } from '../memory/page-memory.js'
import type { PageId } from '../pages/page-access.js'
import { BTree } from './b-tree.js'
import { HeapReader, type HeapStore } from './heap-pages.test-support.js'
import { type KeyKind, ModelledTree, randomKey, randomRange, randomValue } from './tree-model.test-support.js'

// Generous, as the machine may be busy; each takes a second or two.
vi.setConfig({ testTimeout: 60_000 })

const kinds: KeyKind[] = ['random', 'decimal', 'prefixed', 'nested', 'mixed']

function changeRandomly(model: ModelledTree, random: SeededRandom, kind: KeyKind, deletes: number): void {
  const key = randomKey(random, kind, model.pageSize)
  if (random.chance(deletes)) model.delete(key)
  else {
    const { value, flags } = randomValue(random, model.pageSize, key.length)
    model.put(key, value, flags)
  }
}

describe('a reader at a sequence sees the same', () => {
  for (const kind of kinds) {
    it(`at every step of every change, with ${kind} keys`, () => {
      const seed = testSeed()
      const random = new SeededRandom(seed)
      const model = new ModelledTree(4096, 2000, `seed ${seed}`)
      for (let i = 0; i < 150; i++) changeRandomly(model, random, kind, 0.2)
      const other = model.otherReader()
      for (let i = 0; i < 150; i++) {
        const sequence = model.sequence
        model.mtr.onStep = () => {
          if (!random.chance(0.3)) return
          model.compareRange({ reverse: random.chance(0.5) }, sequence, other.tree)
          for (const name of [...model.rows.keys()].slice(0, 10)) model.comparePoint(name, sequence, other.tree)
        }
        changeRandomly(model, random, kind, i < 80 ? 0.3 : 0.8)
        if (random.chance(0.1)) {
          model.versions.trim(sequence)
          const key = randomKey(random, kind, 4096)
          model.tree.purge(key, key.length)
        }
        model.mtr.onStep = undefined
      }
    })

    it(`while the tree changes between any two of its own steps, with ${kind} keys`, () => {
      const seed = testSeed()
      const random = new SeededRandom(seed)
      const model = new ModelledTree(4096, 3000, `seed ${seed}`)
      for (let i = 0; i < 300; i++) changeRandomly(model, random, kind, 0.1)
      const other = model.otherReader()
      for (let round = 0; round < 25; round++) {
        const sequence = model.sequence
        let budget = 30
        const interfere = (): void => {
          if (budget === 0 || model.mtr.isActive || !random.chance(0.2)) return
          budget--
          changeRandomly(model, random, kind, round % 2 === 0 ? 0.2 : 0.7)
          const key = randomKey(random, kind, 4096)
          if (random.chance(0.3)) model.tree.purge(key, key.length)
        }
        other.reader.onFix = interfere
        other.reader.onValid = interfere
        model.compareRange(randomRange(random, kind, 4096), sequence, other.tree)
        const range = randomRange(random, kind, 4096)
        const rows = other.tree.count(range, sequence)
        expect(rows, model.label).toBe(model.names(range, sequence).length)
        for (const name of random.shuffle([...model.rows.keys()]).slice(0, 20)) {
          budget += 2
          model.comparePoint(name, sequence, other.tree)
        }
        other.reader.onFix = undefined
        other.reader.onValid = undefined
        model.versions.trim(sequence)
        model.check()
      }
    })
  }
})

/** What memory held at one step of a change. */
interface Frame {
  readonly bytes: Uint8Array
  readonly inUse: Set<number>
  readonly ranges: HeapStore['ranges']
  readonly serial: number
  readonly isFinal: boolean
}

/** Makes a change and keeps what memory held at each of its steps: a reader can then live through it at any pace. */
function film(model: ModelledTree, change: () => void): Frame[] {
  const { store } = model
  const frames: Frame[] = []
  const take = (): void => {
    const bytes = store.memory.u8.slice(0, store.limit * store.pageSize)
    const { serial, isFinal } = store
    frames.push({ bytes, inUse: new Set(store.inUse), ranges: [...store.ranges], serial, isFinal })
  }
  take()
  model.mtr.onStep = take
  change()
  model.mtr.onStep = undefined
  take()
  return frames
}

function show(store: HeapStore, frame: Frame): void {
  store.memory.u8.set(frame.bytes)
  store.inUse.clear()
  for (const page of frame.inUse) store.inUse.add(page)
  store.ranges = frame.ranges
  store.serial = frame.serial
  store.isFinal = frame.isFinal
}

/** Lets the frames pass while a reader works: from a random step of its on, at a random pace. */
function play(model: ModelledTree, frames: Frame[], random: SeededRandom, reader: HeapReader, read: () => void): void {
  show(model.store, frames[0]!)
  let at = 0
  let wait = random.below(random.pick([4, 20, 120]))
  const pace = random.pick([0.3, 0.7, 1])
  const advance = (): void => {
    if (wait-- > 0) return
    for (let jump = random.pick([1, 1, 1, 2, 5]); jump > 0 && at + 1 < frames.length && random.chance(pace); jump--) {
      show(model.store, frames[++at]!)
    }
  }
  reader.onFix = advance
  reader.onValid = advance
  read()
  reader.onFix = undefined
  reader.onValid = undefined
  show(model.store, frames[frames.length - 1]!)
}

describe('a reader that is slower than a change', () => {
  for (const phase of ['growing', 'shrinking'] as const) {
    it(`sees the state before it at every pace, in a tree that is ${phase}`, () => {
      const seed = testSeed()
      const random = new SeededRandom(seed)
      const model = new ModelledTree(4096, 400, `seed ${seed}`)
      const other = model.otherReader()
      const keyOf = (i: number): Buffer => Buffer.from(`k${String(i).padStart(4, '0')}`)
      const key = (): Buffer => keyOf(random.below(400))
      let filmed = 0
      if (phase === 'shrinking') for (let i = 0; i < 900; i++) model.put(key(), random.bytes(random.between(100, 400)))
      for (let round = 0; round < (phase === 'growing' ? 500 : 160); round++) {
        const at = key()
        const sequence = model.sequence
        const begun = model.mtr.begun
        const frames = film(model, () => {
          if (phase === 'growing') model.put(at, random.bytes(random.between(100, 400)))
          else {
            model.versions.trim(sequence)
            for (let i = 0; i < 4; i++) model.delete(keyOf((Number(at.subarray(1)) + i) % 400))
            model.tree.purge(at, at.length)
          }
        })
        // Changes of one row are tried elsewhere; here those that change the tree's shape.
        if (frames[0]!.inUse.size === frames[frames.length - 1]!.inUse.size && model.mtr.begun - begun < 3) continue
        filmed++
        const near = [...model.rows.keys()].filter(
          name => Math.abs(Number(name.slice(1)) - Number(at.subarray(1))) < 14,
        )
        for (let viewing = 0; viewing < 12; viewing++) {
          play(model, frames, random, other.reader, () => {
            for (const name of random.shuffle(near).slice(0, 2)) model.comparePoint(name, sequence, other.tree)
            const low = keyOf(Math.max(0, Number(at.subarray(1)) - 60))
            const high = keyOf(Number(at.subarray(1)) + 60)
            const range = { gte: low, lt: high, reverse: random.chance(0.5) }
            model.compareRange(range, sequence, other.tree)
            expect(other.tree.count(range, sequence), model.label).toBe(model.names(range, sequence).length)
          })
        }
      }
      expect(filmed, model.label).toBeGreaterThan(10)
      model.check()
    })
  }
})

/** Hands out pages full of nonsense that never validate, then the real ones. */
class TornReader extends HeapReader {
  torn = 0
  readonly #page: PageMemory

  constructor(
    store: HeapStore,
    readonly random: SeededRandom,
  ) {
    super(store)
    this.#page = new PageMemory(new ArrayBuffer(store.pageSize))
  }

  override fix(pageId: PageId): void {
    super.fix(pageId)
    if (!this.random.chance(0.3)) return
    const { memory, base } = this
    this.#page.u8.set(memory.u8.subarray(base, base + this.pageSize))
    const blows = this.random.between(1, 40)
    for (let i = 0; i < blows; i++) {
      const at = this.random.chance(0.5) ? this.random.between(32, 200) : this.random.between(8, this.pageSize - 4)
      this.#page.u8[at] = this.random.below(256)
    }
    this.torn++
    this.memory = this.#page
    this.base = 0
  }

  override valid(memory: PageMemory, base: number, version: number): boolean {
    return memory === this.#page ? false : super.valid(memory, base, version)
  }
}

/** Hands out damaged pages that do validate: what a broken memory chip would do. */
class DamagedReader extends TornReader {
  override valid(): boolean {
    return true
  }
}

function fill(model: ModelledTree, random: SeededRandom): void {
  for (let i = 0; i < 400; i++) changeRandomly(model, random, 'mixed', 0.2)
}

describe('bytes that are not believed', () => {
  it('torn pages make a reader start again, and never anything else', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 2000, `seed ${seed}`)
    fill(model, random)
    const reader = new TornReader(model.store, random)
    const tree = new BTree(reader, model.mtr, model.versions, 7, model.tree.rootPageId)
    for (let round = 0; round < 10; round++) {
      const sequence = random.between(0, model.sequence)
      model.compareAll(sequence, tree)
      const range = randomRange(random, 'mixed', 4096)
      expect(tree.count(range, sequence), model.label).toBe(model.names(range, sequence).length)
    }
    expect(reader.torn).toBeGreaterThan(1000)
  })

  it('damaged pages give a wrong answer or a coded error, within their page and in finite time', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 2000, `seed ${seed}`)
    fill(model, random)
    const tree = new BTree(new DamagedReader(model.store, random), model.mtr, model.versions, 7, model.tree.rootPageId)
    let corrupt = 0
    for (let round = 0; round < 3000; round++) {
      const key = randomKey(random, 'mixed', 4096)
      try {
        tree.get(key, key.length, model.sequence)
        tree.sequenceOf(key, key.length)
        tree.count({ gte: key }, Number.MAX_SAFE_INTEGER)
      } catch (error) {
        // A damaged sequence or pointer leads to a version that is not there: nothing tells it from one given up.
        const known =
          isHyphaError(error, 'HYPHA_CORRUPT') ||
          isHyphaError(error, 'HYPHA_SNAPSHOT_TOO_OLD') ||
          /does not exist|another key/.test(String(error))
        expect(known, `${model.label}: ${error instanceof Error ? error.stack : String(error)}`).toBe(true)
        corrupt++
      }
    }
    expect(corrupt).toBeGreaterThan(100)
  })
})

describe('a check finds', () => {
  it('nearly every byte that is flipped in a node, and names its page', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const model = new ModelledTree(4096, 2000, `seed ${seed}`)
    for (let i = 0; i < 300; i++) model.put(random.bytes(10), random.bytes(20))
    const { store } = model
    let found = 0
    const rounds = 400
    for (let round = 0; round < rounds; round++) {
      const page = random.pick([...store.inUse])
      const base = store.baseOf(page)
      // Count, heap top, garbage, fences, slots: bytes that no slack hides. (Values and checksums are the block's matter.)
      const at = base + random.pick([8, 9, 12, 32, 34, 36, 40, 44, 46, 48, 64, 65, 68, 70])
      const before = store.memory.u8[at]!
      store.memory.u8[at] = before ^ (1 << random.below(8))
      const faults: number[] = []
      model.tree.check(fault => faults.push(fault.pageId))
      if (faults.length > 0) found++
      store.memory.u8[at] = before
    }
    model.check()
    expect(found / rounds, model.label).toBeGreaterThan(0.85)
  })
})
