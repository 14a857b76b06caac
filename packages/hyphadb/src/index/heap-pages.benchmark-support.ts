/**
 * The pool's interface with nothing in it but what it must cost: for measuring the tree. Undo bytes are copied, versions
 * move, nothing is checked and nothing can be rolled back.
 */
import type { PageMemory } from '../memory/page-memory.js'
import {
  type MiniTransaction,
  PAGE_ID,
  PAGE_KIND,
  PAGE_LEVEL,
  PAGE_TABLE,
  type PageId,
  type PageReader,
} from '../pages/page-access.js'
import type { HeapStore } from './heap-pages.test-support.js'

export class BenchmarkReader implements PageReader {
  readonly pageSize: number
  memory: PageMemory
  base = 0
  version = 0
  readonly #shift: number
  readonly #frameOf: Int32Array

  constructor(store: HeapStore) {
    this.pageSize = store.pageSize
    this.memory = store.memory
    this.#shift = Math.log2(store.pageSize)
    // One more load and compare for each page, as the pool's table of frames costs.
    this.#frameOf = Int32Array.from({ length: store.pageCount }, (_, i) => i)
  }

  fix(pageId: PageId): void {
    const base = this.#frameOf[pageId]! << this.#shift
    const version = this.memory.i32[base >> 2]!
    if ((version & 1) !== 0 || this.memory.i32[(base + PAGE_ID) >> 2] !== pageId)
      throw new Error('the page is not there')
    this.base = base
    this.version = version
  }

  valid(memory: PageMemory, base: number, version: number): boolean {
    return Atomics.load(memory.i32, base >> 2) === version
  }
}

export class BenchmarkMiniTransaction implements MiniTransaction {
  readonly pageSize: number
  readonly memory: PageMemory[] = []
  readonly base: number[] = []
  readonly pageId: PageId[] = []
  readonly #undo: Uint8Array
  readonly #odd: boolean[] = []
  #count = 0
  #used = 0

  constructor(readonly store: HeapStore) {
    this.pageSize = store.pageSize
    this.#undo = new Uint8Array(store.pageSize * 8)
  }

  begin(): void {
    this.#count = 0
    this.#used = 0
  }

  fix(pageId: PageId): number {
    for (let handle = 0; handle < this.#count; handle++) if (this.pageId[handle] === pageId) return handle
    return this.#enter(pageId, false)
  }

  #enter(pageId: PageId, odd: boolean): number {
    const handle = this.#count++
    this.pageId[handle] = pageId
    this.memory[handle] = this.store.memory
    this.base[handle] = this.store.baseOf(pageId)
    this.#odd[handle] = odd
    return handle
  }

  allocate(kind: number, level: number, tableId: number): number {
    const { store } = this
    const pageId = store.limit++ as PageId
    const handle = this.#enter(pageId, true)
    const base = this.base[handle]!
    const { i32, u8 } = store.memory
    i32[base >> 2] = 1
    i32[(base + PAGE_ID) >> 2] = pageId
    u8[base + PAGE_KIND] = kind
    u8[base + PAGE_LEVEL] = level
    i32[(base + PAGE_TABLE) >> 2] = tableId
    return handle
  }

  saveRange(handle: number, offset: number, length: number): void {
    const from = this.base[handle]! + offset
    const { u8, i32 } = this.store.memory
    if (length <= 48) for (let i = 0; i < length; i++) this.#undo[this.#used + i] = u8[from + i]!
    else this.#undo.set(u8.subarray(from, from + length), this.#used)
    this.#used += length
    if (!this.#odd[handle]) {
      this.#odd[handle] = true
      Atomics.add(i32, this.base[handle]! >> 2, 1)
    }
  }

  savePage(handle: number): void {
    this.saveRange(handle, 4, this.pageSize - 4)
  }

  free(): void {}

  end(): void {
    const { i32 } = this.store.memory
    for (let handle = 0; handle < this.#count; handle++) {
      if (this.#odd[handle]) Atomics.store(i32, this.base[handle]! >> 2, i32[this.base[handle]! >> 2]! + 1)
    }
  }
}
