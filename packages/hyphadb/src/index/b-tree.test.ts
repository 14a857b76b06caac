import { describe, expect, it } from 'vitest'
import { SeededRandom, testSeed } from '../base/random.js'
import { type PageId } from '../pages/page-access.js'
import { BTree } from './b-tree.js'
import { HeapMiniTransaction, HeapReader, HeapStore, HeapVersions } from './heap-pages.test-support.js'
import type { Fault } from './tree-check.js'

function makeTree(pageSize: number, pageCount: number) {
  const store = new HeapStore(pageSize, pageCount)
  const versions = new HeapVersions()
  const mtr = new HeapMiniTransaction(store, versions)
  mtr.begin()
  const root = BTree.create(mtr, 7)
  mtr.end()
  const reader = new HeapReader(store)
  return { store, versions, mtr, reader, root: root as PageId, tree: new BTree(reader, mtr, versions, 7, root) }
}

function faultsOf(tree: BTree): Fault[] {
  const faults: Fault[] = []
  tree.check(fault => faults.push(fault))
  return faults
}

describe('B+tree smoke', () => {
  it('finds what was put, in any order', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const { tree } = makeTree(4096, 4000)
    const model = new Map<string, string>()
    for (let i = 1; i <= 20000; i++) {
      const key = random.bytes(8)
      const value = random.bytes(random.below(60))
      tree.put(key, key.length, value, 0, value.length, 0, i)
      model.set(key.toString('latin1'), value.toString('latin1'))
    }
    expect(faultsOf(tree), `seed ${seed}`).toEqual([])
    for (const [key, value] of model) {
      const bytes = Buffer.from(key, 'latin1')
      expect(tree.get(bytes, bytes.length, 1e9)?.toString('latin1')).toBe(value)
    }
    const cursor = tree.cursor({}, 1e9)
    const sorted = [...model.keys()].map(key => Buffer.from(key, 'latin1')).sort(Buffer.compare)
    let at = 0
    while (cursor.next()) expect(cursor.key().equals(sorted[at++]!)).toBe(true)
    expect(at).toBe(sorted.length)
  })
})
