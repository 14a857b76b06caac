/**
 * Nanoseconds per operation of a tree alone: pages on the heap, no pool, no log. Run by node on the compiled file:
 * `node dist/index/btree.benchmark.js [rows] [only]`. Figures are the median of three runs.
 */
import { SeededRandom } from '../base/random.js'
import type { MiniTransaction, VersionStore } from '../pages/page-access.js'
import { BTree } from './b-tree.js'
import { BenchmarkMiniTransaction, BenchmarkReader } from './heap-pages.benchmark-support.js'
import { HeapStore, NoVersions } from './heap-pages.test-support.js'

const PAGE_BYTES = 16384
const KEY_BYTES = 16
const VALUE_BYTES = 100
const LATEST = Number.MAX_SAFE_INTEGER

interface Bench {
  tree: BTree
  mtr: MiniTransaction
  versions: VersionStore
}

function makeBench(rows: number): Bench {
  const store = new HeapStore(PAGE_BYTES, Math.ceil((rows * 200 * 1.6) / PAGE_BYTES) + 64)
  const versions = new NoVersions()
  const mtr = new BenchmarkMiniTransaction(store)
  mtr.begin()
  const root = BTree.create(mtr, 1)
  mtr.end()
  return { tree: new BTree(new BenchmarkReader(store), mtr, versions, 1, root), mtr, versions }
}

function keysOf(rows: number, ordered: boolean): Buffer {
  const random = new SeededRandom(42)
  const keys = Buffer.alloc(rows * KEY_BYTES)
  for (let i = 0; i < rows; i++) {
    if (ordered) {
      keys.write(String(i).padStart(KEY_BYTES, '0'), i * KEY_BYTES, 'latin1')
    } else for (let word = 0; word < 4; word++) keys.writeUInt32BE(random.uint32(), i * KEY_BYTES + word * 4)
  }
  return keys
}

function time(name: string, operations: number, work: () => void): void {
  const start = process.hrtime.bigint()
  work()
  const each = Number(process.hrtime.bigint() - start) / operations
  console.log(`${name.padEnd(28)} ${each.toFixed(0).padStart(7)} ns`)
}

function load(bench: Bench, keys: Buffer, rows: number, sequence: number): void {
  const value = Buffer.alloc(VALUE_BYTES, 7)
  const key = Buffer.alloc(KEY_BYTES)
  for (let i = 0; i < rows; i++) {
    keys.copy(key, 0, i * KEY_BYTES, (i + 1) * KEY_BYTES)
    bench.tree.put(key, KEY_BYTES, value, 0, VALUE_BYTES, 0, sequence)
  }
}

function shuffledIndexes(rows: number): Int32Array {
  const order = Int32Array.from({ length: rows }, (_, i) => i)
  const random = new SeededRandom(7)
  for (let i = rows - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const held = order[i]!
    order[i] = order[j]!
    order[j] = held
  }
  return order
}

function readAll(bench: Bench, keys: Buffer, order: Int32Array, useLookup: boolean): number {
  const key = Buffer.alloc(KEY_BYTES)
  let bytes = 0
  for (let i = 0; i < order.length; i++) {
    const at = order[i]! * KEY_BYTES
    keys.copy(key, 0, at, at + KEY_BYTES)
    if (!useLookup) bytes += bench.tree.get(key, KEY_BYTES, LATEST)!.length
    else if (bench.tree.lookup(key, KEY_BYTES, LATEST)) bytes += bench.tree.valueEnd
  }
  return bytes
}

function scan(bench: Bench, reverse: boolean, withKeys: boolean): number {
  const cursor = bench.tree.cursor({ reverse }, LATEST)
  let sum = 0
  while (cursor.next())
    sum += cursor.buffer[cursor.valueStart]! + (withKeys ? cursor.keyBuffer[cursor.keyLength - 1]! : 0)
  cursor.close()
  return sum
}

function run(rows: number, only: string | undefined): void {
  const wants = (name: string): boolean => only === undefined || name.includes(only)
  const order = shuffledIndexes(rows)
  const randomKeys = keysOf(rows, false)
  const orderedKeys = keysOf(rows, true)
  const random = makeBench(rows)
  time('insert random', rows, () => load(random, randomKeys, rows, 1))
  const ordered = makeBench(rows)
  time('insert sequential', rows, () => load(ordered, orderedKeys, rows, 1))
  for (let round = 0; round < 3; round++) {
    if (wants('get')) {
      time('get random', rows, () => readAll(random, randomKeys, order, false))
      time('lookup random', rows, () => readAll(random, randomKeys, order, true))
      time('get of ordered keys', rows, () => readAll(ordered, orderedKeys, order, false))
    }
    if (wants('scan')) {
      time('scan', rows, () => scan(random, false, false))
      time('scan with keys', rows, () => scan(random, false, true))
      time('scan backwards', rows, () => scan(random, true, true))
      time('count', rows, () => void random.tree.count({}, LATEST))
    }
    if (wants('replace')) time('replace random', rows, () => load(random, randomKeys, rows, 2 + round))
    if (wants('short')) {
      const key = Buffer.alloc(KEY_BYTES)
      time('short scan of 5', 100_000, () => {
        for (let i = 0; i < 100_000; i++) {
          randomKeys.copy(key, 0, order[i % rows]! * KEY_BYTES, (order[i % rows]! + 1) * KEY_BYTES)
          const cursor = random.tree.cursor({ gte: key }, LATEST)
          for (let row = 0; row < 5; row++) cursor.next()
          cursor.close()
        }
      })
    }
  }
  for (const [name, bench] of [
    ['random', random],
    ['sequential', ordered],
  ] as const) {
    const result = bench.tree.check(fault => console.log('FAULT', fault))
    console.log(
      `${name}: ${result.pages.size} pages, depth ${result.depth}, leaves ${(result.leafFill * 100).toFixed(1)} % full`,
    )
  }
}

run(Number(process.argv[2] ?? 1_000_000), process.argv[3])
