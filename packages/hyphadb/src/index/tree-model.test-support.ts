/**
 * A sorted model of a tree with all its history, and the random keys that make trees sweat. Every comparison of a tree
 * with its model is here, so that each test only says what happens in between.
 */
import { expect } from 'vitest'
import { hex } from '../base/bytes.js'
import type { SeededRandom } from '../base/random.js'
import { BTree } from './b-tree.js'
import { HeapMiniTransaction, HeapReader, HeapStore, HeapVersions } from './heap-pages.test-support.js'
import { maxKeyLength, ROW_OVERFLOW } from './node-layout.js'
import type { Fault, TreeCheckResult } from './tree-check.js'
import type { CursorRange } from './tree-cursor.js'

const TABLE = 7

export interface Change {
  readonly sequence: number
  /** undefined: deleted. */
  readonly value: Buffer | undefined
  readonly flags: number
}

/** A tree on heap pages with what it should hold. */
export class ModelledTree {
  readonly store: HeapStore
  readonly versions = new HeapVersions()
  readonly mtr: HeapMiniTransaction
  readonly reader: HeapReader
  readonly tree: BTree
  /** By key as latin1, which sorts like the bytes. */
  readonly rows = new Map<string, Change[]>()
  sequence = 0
  readonly ghostHints = new Map<number, Buffer>()

  constructor(
    readonly pageSize: number,
    pageCount: number,
    readonly label: string,
  ) {
    this.store = new HeapStore(pageSize, pageCount)
    this.mtr = new HeapMiniTransaction(this.store, this.versions)
    this.mtr.begin()
    const root = BTree.create(this.mtr, TABLE)
    this.mtr.end()
    this.reader = new HeapReader(this.store)
    this.tree = new BTree(this.reader, this.mtr, this.versions, TABLE, root)
    this.tree.onGhost = (_table, page, key) => this.ghostHints.set(page, Buffer.from(key))
  }

  /** Another participant's view of the same tree. */
  otherReader(): { reader: HeapReader; tree: BTree } {
    const reader = new HeapReader(this.store)
    return { reader, tree: new BTree(reader, this.mtr, this.versions, TABLE, this.tree.rootPageId) }
  }

  put(key: Buffer, value: Buffer, flags = 0): void {
    this.sequence++
    expect(this.tree.put(key, key.length, value, 0, value.length, flags, this.sequence), this.label).toBe(true)
    this.record(key, { sequence: this.sequence, value, flags })
  }

  delete(key: Buffer): void {
    this.sequence++
    const isLive = this.visible(key.toString('latin1'), this.sequence) !== undefined
    expect(this.tree.delete(key, key.length, this.sequence), this.label).toBe(isLive)
    if (isLive) this.record(key, { sequence: this.sequence, value: undefined, flags: 0 })
  }

  record(key: Buffer, change: Change): void {
    const name = key.toString('latin1')
    const changes = this.rows.get(name)
    if (changes === undefined) this.rows.set(name, [change])
    else changes.push(change)
  }

  visible(name: string, sequence: number): Change | undefined {
    const changes = this.rows.get(name)
    if (changes === undefined) return undefined
    for (let i = changes.length - 1; i >= 0; i--) {
      const change = changes[i]!
      if (change.sequence <= sequence) return change.value === undefined ? undefined : change
    }
    return undefined
  }

  names(range: CursorRange, sequence: number): string[] {
    const names = [...this.rows.keys()].filter(name => {
      if (this.visible(name, sequence) === undefined) return false
      const key = Buffer.from(name, 'latin1')
      if (range.gte !== undefined && Buffer.compare(key, range.gte) < 0) return false
      if (range.gt !== undefined && Buffer.compare(key, range.gt) <= 0) return false
      if (range.lte !== undefined && Buffer.compare(key, range.lte) > 0) return false
      if (range.lt !== undefined && Buffer.compare(key, range.lt) >= 0) return false
      return true
    })
    names.sort((a, b) => (a < b ? -1 : 1))
    return range.reverse === true ? names.reverse() : names
  }

  check(isBeingFreed = false): TreeCheckResult {
    const faults: string[] = []
    const report = (fault: Fault): number => faults.push(`page ${fault.pageId}: ${fault.what}`)
    const result = this.tree.check(report, undefined, isBeingFreed)
    expect(faults, this.label).toEqual([])
    expect([...result.pages].sort(), `pages in use, ${this.label}`).toEqual([...this.store.inUse].sort())
    return result
  }

  /** Every row by every way of reading, as of a sequence. */
  compareAll(sequence: number, tree = this.tree): void {
    const label = `at ${sequence}, ${this.label}`
    for (const name of this.rows.keys()) this.comparePoint(name, sequence, tree)
    this.compareRange({}, sequence, tree)
    this.compareRange({ reverse: true }, sequence, tree)
    expect(tree.count({}, sequence), label).toBe(this.names({}, sequence).length)
  }

  comparePoint(name: string, sequence: number, tree = this.tree): void {
    const key = Buffer.from(name, 'latin1')
    const label = `key ${hex(key)} at ${sequence}, ${this.label}`
    const expected = this.visible(name, sequence)
    const got = tree.get(key, key.length, sequence)
    expect(got === undefined, label).toBe(expected === undefined)
    if (got !== undefined && !got.equals(expected!.value!)) throw new Error(`another value, ${label}`)
    const found = tree.lookup(key, key.length, sequence)
    expect(found, label).toBe(expected !== undefined)
    if (expected === undefined) return
    expect(tree.buffer.subarray(tree.valueStart, tree.valueEnd).equals(expected.value!), label).toBe(true)
    expect(tree.sequence, label).toBe(expected.sequence)
    expect(tree.flags, label).toBe(expected.flags)
  }

  compareRange(range: CursorRange, sequence: number, tree = this.tree): void {
    const label = `range ${describeRange(range)} at ${sequence}, ${this.label}`
    const names = this.names(range, sequence)
    const cursor = tree.cursor(range, sequence)
    let at = 0
    while (cursor.next()) {
      const name = names[at++]
      if (name === undefined) throw new Error(`a row too many: ${cursor.key().toString('hex')}, ${label}`)
      const expected = this.visible(name, sequence)!
      if (cursor.keyLength !== name.length || cursor.key().toString('latin1') !== name) {
        throw new Error(
          `row ${at}: ${cursor.key().toString('hex')} for ${Buffer.from(name, 'latin1').toString('hex')}, ${label}`,
        )
      }
      if (!cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd).equals(expected.value!)) {
        throw new Error(`row ${at} has another value, ${label}`)
      }
      if (cursor.sequence !== expected.sequence || cursor.flags !== expected.flags) {
        throw new Error(`row ${at} has sequence ${cursor.sequence} and flags ${cursor.flags}, ${label}`)
      }
    }
    expect(cursor.next(), label).toBe(false)
    cursor.close()
    expect(at, label).toBe(names.length)
  }

  /** Sequences and changes of ranges, which the validation of transactions stands on. */
  compareChanges(low: Buffer, high: Buffer | undefined, sequence: number): void {
    const label = `changes ${hex(low)} to ${high === undefined ? 'the end' : hex(high)} since ${sequence}, ${this.label}`
    for (const lowInclusive of [true, false]) {
      for (const highInclusive of [true, false]) {
        let changed = false
        for (const [name, changes] of this.rows) {
          const key = Buffer.from(name, 'latin1')
          const fromLow = Buffer.compare(key, low)
          const fromHigh = high === undefined ? -1 : Buffer.compare(key, high)
          if (fromLow < 0 || (fromLow === 0 && !lowInclusive) || fromHigh > 0 || (fromHigh === 0 && !highInclusive))
            continue
          if (changes[changes.length - 1]!.sequence > sequence) changed = true
        }
        expect(this.tree.changedSince(low, lowInclusive, high, highInclusive, sequence), label).toBe(changed)
      }
    }
  }

  compareSequence(name: string): void {
    const key = Buffer.from(name, 'latin1')
    const changes = this.rows.get(name)
    const last = changes?.[changes.length - 1]
    const got = this.tree.sequenceOf(key, key.length)
    const isPurged = got === 0 && last !== undefined && last.value === undefined && last.sequence <= this.versions.floor
    if (!isPurged) expect(got, `key ${hex(key)}, ${this.label}`).toBe(last?.sequence ?? 0)
  }
}

export function describeRange(range: CursorRange): string {
  return Object.entries(range)
    .map(([name, bound]) => `${name} ${bound instanceof Uint8Array ? hex(bound) : bound}`)
    .join(' ')
}

/** Kinds of keys, each hard on something: heads, ties, prefixes, fences, page space. */
export const keyKinds = ['random', 'short', 'decimal', 'prefixed', 'nested', 'zeros', 'long', 'mixed'] as const
export type KeyKind = (typeof keyKinds)[number]

export function randomKey(random: SeededRandom, kind: KeyKind, pageSize: number): Buffer {
  const longest = maxKeyLength(pageSize)
  switch (kind) {
    case 'random':
      return random.bytes(random.between(0, 24))
    case 'short':
      return Buffer.from([random.below(4), random.below(256), random.below(8)].slice(0, random.between(0, 3)))
    case 'decimal':
      return Buffer.from(`user:${String(random.below(3000)).padStart(8, '0')}`)
    case 'prefixed':
      return Buffer.from(`${'town/'.repeat(random.between(1, 3))}${random.below(1000)}/${random.below(20)}`)
    case 'nested':
      return Buffer.alloc(random.between(0, Math.min(longest, 300)), 'a')
    case 'zeros':
      return Buffer.concat([
        Buffer.from([random.below(3)]),
        Buffer.alloc(random.between(0, 9)),
        Buffer.from([random.below(3)]),
      ])
    case 'long': {
      const shared = Buffer.alloc(longest - random.between(2, 5), 'p')
      return Buffer.concat([shared, random.bytes(2)])
    }
    case 'mixed':
      return randomKey(random, random.pick(keyKinds.slice(0, -1)), pageSize)
  }
}

export function randomValue(
  random: SeededRandom,
  pageSize: number,
  keyLength: number,
): { value: Buffer; flags: number } {
  const most = (pageSize >> 2) - keyLength - 32
  const dice = random.below(20)
  if (dice === 0) return { value: random.bytes(24), flags: ROW_OVERFLOW }
  if (dice === 1) return { value: Buffer.alloc(random.between(0, Math.max(most, 0)), random.below(256)), flags: 0 }
  return { value: random.bytes(random.below(Math.min(100, Math.max(most, 1)))), flags: 0 }
}

export function randomRange(random: SeededRandom, kind: KeyKind, pageSize: number): CursorRange {
  const range: CursorRange = { reverse: random.chance(0.5) }
  const low = random.below(3)
  const high = random.below(3)
  if (low === 1) range.gte = randomKey(random, kind, pageSize)
  if (low === 2) range.gt = randomKey(random, kind, pageSize)
  if (high === 1) range.lte = randomKey(random, kind, pageSize)
  if (high === 2) range.lt = randomKey(random, kind, pageSize)
  return range
}
