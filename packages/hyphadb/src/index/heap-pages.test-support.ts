/**
 * The pool's interface on plain memory, for tests and benchmarks of what is built on pages: real version words, undo with
 * rollback, release in role order, before-images for readers of a page that is being changed, and a version store.
 *
 * Two readers of the same memory can be made: the committer's and others, which see pages only through the protocol.
 * `onStep` is called at every step of a mini-transaction: a test may throw there (and roll back), or read.
 */
import { PageMemory } from '../memory/page-memory.js'
import {
  type MiniTransaction,
  PAGE_ID,
  PAGE_KIND,
  PAGE_LEVEL,
  PAGE_TABLE,
  type PageId,
  type PageReader,
  type PageRole,
  type VersionOut,
  type VersionStore,
} from '../pages/page-access.js'

interface SavedRange {
  readonly pageId: number
  readonly offset: number
  readonly bytes: Uint8Array
}

/** All pages, in one stretch of memory; page i lies at i * pageSize. */
export class HeapStore {
  readonly memory: PageMemory
  readonly freePages: number[] = []
  readonly inUse = new Set<number>()
  limit = 1
  /** Undo of the mini-transaction under way; empty when there is none. */
  ranges: SavedRange[] = []
  /** Grows with every begin and with the moment at which a change becomes final: what a before-image depends on. */
  serial = 0
  isFinal = false

  constructor(
    readonly pageSize: number,
    readonly pageCount: number,
  ) {
    this.memory = new PageMemory(new ArrayBuffer(pageSize * pageCount))
  }

  baseOf(pageId: number): number {
    return pageId * this.pageSize
  }
}

/** A before-image handed to a reader, and what must still be so for it to count. */
interface PrivateCopy {
  readonly memory: PageMemory
  readonly pageId: number
  readonly version: number
  readonly serial: number
}

export class HeapReader implements PageReader {
  readonly pageSize: number
  memory: PageMemory
  base = 0
  version = 0
  fixes = 0
  /** Called before a page is handed out: a test changes the tree under the reader here. */
  onFix: ((pageId: number) => void) | undefined
  onValid: (() => void) | undefined
  #copies: PrivateCopy[] = []

  constructor(readonly store: HeapStore) {
    this.pageSize = store.pageSize
    this.memory = store.memory
  }

  fix(pageId: PageId): void {
    const { store } = this
    this.fixes++
    if (this.onFix !== undefined) this.onFix(pageId)
    if (!(pageId > 0 && pageId < store.limit) || !store.inUse.has(pageId)) {
      throw new Error(`page ${pageId} does not exist`)
    }
    const base = store.baseOf(pageId)
    const version = store.memory.i32[base >> 2]!
    if ((version & 1) === 0) {
      this.memory = store.memory
      this.base = base
      this.version = version
      return
    }
    this.#fixBeforeImage(pageId, base, version)
  }

  #fixBeforeImage(pageId: number, base: number, version: number): void {
    const { store } = this
    const copy = new PageMemory(new ArrayBuffer(store.pageSize))
    copy.u8.set(store.memory.u8.subarray(base, base + store.pageSize))
    if (!store.isFinal) {
      for (const range of [...store.ranges].reverse()) {
        if (range.pageId === pageId) copy.u8.set(range.bytes, range.offset)
      }
    }
    this.#copies = [...this.#copies.slice(-7), { memory: copy, pageId, version, serial: store.serial }]
    this.memory = copy
    this.base = 0
    this.version = version
  }

  valid(memory: PageMemory, base: number, version: number): boolean {
    if (this.onValid !== undefined) this.onValid()
    if (memory === this.store.memory) return Atomics.load(memory.i32, base >> 2) === version
    const copy = this.#copies.find(candidate => candidate.memory === memory)
    if (copy === undefined) return false
    const { store } = this
    return store.memory.i32[store.baseOf(copy.pageId) >> 2] === version && store.serial === copy.serial
  }
}

/** The committer's side. */
export class HeapMiniTransaction implements MiniTransaction {
  readonly pageSize: number
  readonly memory: PageMemory[] = []
  readonly base: number[] = []
  readonly pageId: PageId[] = []
  /** Called with the name of each step. */
  onStep: ((step: string) => void) | undefined
  /** Counted for benchmarks and for tests of what is written. */
  savedBytes = 0
  begun = 0
  #role: PageRole[] = []
  #odd: boolean[] = []
  #allocated: boolean[] = []
  #freed: boolean[] = []
  #active = false
  #isEditing = false

  constructor(
    readonly store: HeapStore,
    readonly versions: HeapVersions,
  ) {
    this.pageSize = store.pageSize
  }

  get isActive(): boolean {
    return this.#active
  }

  begin(): void {
    if (this.#active) throw new Error('mini-transactions do not nest')
    this.#active = true
    this.#isEditing = false
    this.begun++
    this.pageId.length = 0
    this.store.ranges.length = 0
    this.store.serial++
    this.store.isFinal = false
    this.versions.mark()
    this.#step('begin')
  }

  fix(pageId: PageId, role: PageRole): number {
    this.#demandBefore('fix')
    const known = this.pageId.indexOf(pageId)
    if (known >= 0) {
      if (this.#role[known] !== role) throw new Error(`page ${pageId} is fixed with two roles`)
      return known
    }
    if (!this.store.inUse.has(pageId)) throw new Error(`page ${pageId} does not exist`)
    const handle = this.#enter(pageId, role, false)
    this.#step('fix')
    return handle
  }

  #enter(pageId: PageId, role: PageRole, allocated: boolean): number {
    const handle = this.pageId.length
    this.pageId.push(pageId)
    this.memory[handle] = this.store.memory
    this.base[handle] = this.store.baseOf(pageId)
    this.#role[handle] = role
    this.#odd[handle] = allocated
    this.#allocated[handle] = allocated
    this.#freed[handle] = false
    return handle
  }

  allocate(kind: number, level: number, tableId: number, role: PageRole): number {
    this.#demandBefore('allocate')
    const { store } = this
    const reused = store.freePages.pop()
    const pageId = (reused ?? store.limit) as PageId
    if (pageId >= store.pageCount) throw new Error('the heap has no more pages')
    if (reused === undefined) store.limit++
    store.inUse.add(pageId)
    const handle = this.#enter(pageId, role, true)
    const base = this.base[handle]!
    const { i32, u8 } = store.memory
    u8.fill(0, base + 4, base + store.pageSize)
    i32[base >> 2] = i32[base >> 2]! + 1
    i32[(base + PAGE_ID) >> 2] = pageId
    u8[base + PAGE_KIND] = kind
    u8[base + PAGE_LEVEL] = level
    i32[(base + PAGE_TABLE) >> 2] = tableId
    this.#step('allocate')
    return handle
  }

  #demandBefore(what: string): void {
    if (!this.#active || this.#isEditing)
      throw new Error(`${what} outside of a mini-transaction, or after its first save`)
  }

  saveRange(handle: number, offset: number, length: number): void {
    if (!this.#active || handle >= this.pageId.length) throw new Error('no such handle')
    if (offset < 4 || length <= 0 || offset + length > this.pageSize) throw new Error('the range leaves its page')
    this.#isEditing = true
    const { store } = this
    const base = this.base[handle]!
    const bytes = store.memory.u8.slice(base + offset, base + offset + length)
    store.ranges.push({ pageId: this.pageId[handle]!, offset, bytes })
    this.savedBytes += length
    if (!this.#odd[handle]) {
      this.#odd[handle] = true
      store.memory.i32[base >> 2] = store.memory.i32[base >> 2]! + 1
    }
    this.#step('save')
  }

  savePage(handle: number): void {
    this.saveRange(handle, 4, this.pageSize - 4)
  }

  free(handle: number): void {
    this.#freed[handle] = true
    this.#step('free')
  }

  end(): void {
    if (!this.#active) throw new Error('end without begin')
    this.#step('edited')
    const { store } = this
    store.isFinal = true
    store.serial++
    this.#step('final')
    for (const role of [0, 1, 2]) {
      for (let handle = 0; handle < this.pageId.length; handle++) {
        if (this.#role[handle] === role) this.#release(handle)
      }
    }
    store.ranges.length = 0
    this.#active = false
    this.#step('end')
  }

  #release(handle: number): void {
    const { store } = this
    const word = this.base[handle]! >> 2
    const { i32 } = store.memory
    if (this.#freed[handle]) {
      i32[word] = (i32[word]! | 1) + 1
      store.inUse.delete(this.pageId[handle]!)
      store.freePages.push(this.pageId[handle]!)
      store.memory.u8.fill(0xa5, this.base[handle]! + 4, this.base[handle]! + this.pageSize)
    } else if (this.#odd[handle]) {
      i32[word] = i32[word]! + 1
    }
    this.#step('release')
  }

  /** Takes everything back, as the pool's repair does for a committer that died or threw. */
  rollBack(): void {
    if (!this.#active) return
    const { store } = this
    if (store.isFinal) throw new Error('a final change is finished, not rolled back')
    for (const range of [...store.ranges].reverse()) {
      store.memory.u8.set(range.bytes, store.baseOf(range.pageId) + range.offset)
    }
    for (let handle = 0; handle < this.pageId.length; handle++) {
      const word = this.base[handle]! >> 2
      if (this.#odd[handle]) store.memory.i32[word] = store.memory.i32[word]! + 1
      if (this.#allocated[handle]) {
        store.inUse.delete(this.pageId[handle]!)
        store.freePages.push(this.pageId[handle]!)
      }
    }
    store.ranges.length = 0
    this.versions.reset()
    this.#active = false
  }

  #step(name: string): void {
    if (this.onStep !== undefined) this.onStep(name)
  }
}

interface HeapVersion {
  readonly sequence: number
  readonly previous: number
  readonly flags: number
  readonly key: Buffer
  readonly value: Buffer
}

const DELETED = 1

/** Versions in an array; pointers are positions plus one. Those superseded at or below `floor` can be trimmed. */
export class HeapVersions implements VersionStore {
  floor = 0
  readonly versions: (HeapVersion | undefined)[] = []
  readonly supersededBy: number[] = []
  pushes = 0
  #mark = 0

  push(
    _tableId: number,
    key: Uint8Array,
    keyLength: number,
    sequence: number,
    previous: number,
    supersededBy: number,
    flags: number,
    memory: PageMemory,
    valueOffset: number,
    valueLength: number,
  ): number {
    this.pushes++
    this.supersededBy.push(supersededBy)
    return this.versions.push({
      sequence,
      previous,
      flags,
      key: Buffer.from(key.subarray(0, keyLength)),
      value: Buffer.from(memory.u8.slice(valueOffset, valueOffset + valueLength)),
    })
  }

  read(
    pointer: number,
    sequence: number,
    out: VersionOut,
    _tableId: number,
    key: Uint8Array,
    keyLength: number,
  ): number {
    for (let at = pointer; at !== 0; ) {
      const version = this.versions[at - 1]
      if (version === undefined) return -2
      if (Buffer.compare(version.key, key.subarray(0, keyLength)) !== 0)
        throw new Error('a pointer leads to another key')
      if (version.sequence <= sequence) {
        if ((version.flags & DELETED) !== 0) return -1
        if (out.buffer.length < version.value.length) out.buffer = Buffer.alloc(version.value.length * 2)
        version.value.copy(out.buffer)
        out.flags = version.flags
        out.sequence = version.sequence
        return version.value.length
      }
      at = version.previous
    }
    return -1
  }

  /** Raises the floor and forgets what nobody needs any more. */
  trim(floor: number): void {
    this.floor = floor
    for (let i = 0; i < this.versions.length; i++) {
      if (this.supersededBy[i]! <= floor) this.versions[i] = undefined
    }
  }

  mark(): void {
    this.#mark = this.versions.length
  }

  reset(): void {
    this.versions.length = this.#mark
    this.supersededBy.length = this.#mark
  }
}

/** Versions that are counted and forgotten: benchmarks of the tree alone. */
export class NoVersions implements VersionStore {
  readonly floor = 0
  push(): number {
    return 1
  }
  read(): number {
    return -1
  }
}
