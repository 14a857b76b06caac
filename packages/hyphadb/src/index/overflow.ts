/**
 * Overflow values: values too large for a leaf, in pages of their own. The row holds a reference.
 *
 * Reference, 24 bytes: f64 value id, f64 length, i32 root page, i32 level of the root.
 * Page (kind 3), after the pool's header:
 * | byte | type | what |
 * |---|---|---|
 * | 9 | u8 | level: 0 data, 1 list of data pages, 2 list of lists |
 * | 32 | f64 | value id |
 * | 40 | i32 | index of the page within its level |
 * | 44 | i32 | data bytes, or entries of the list that are not freed yet |
 * | 64 | | data, or page ids |
 *
 * Thread safety: pages are written before the commit by whoever prepares it, under ids that are reserved for its slot, so
 * that its death frees them; `adopt` (commit latch) makes them part of the database; `free` (commit latch) gives them up
 * when no snapshot needs the value. In between they never change, and readers check the stamp instead of coupling.
 */
import { assert } from '../base/assert.js'
import { HyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import * as L from '../memory/layout.js'
import type { Allocator } from '../pages/allocator.js'
import { PAGE_FREE, PAGE_FREED, PAGE_FRESH, PAGE_RESERVED } from '../pages/directory.js'
import type { Evictor } from '../pages/evictor.js'
import {
  KIND_OVERFLOW,
  PAGE_HEADER_BYTES,
  PAGE_ID,
  PAGE_KIND,
  PAGE_LEVEL,
  PAGE_TABLE,
  ROLE_DONOR,
} from '../pages/page-access.js'
import type { PageChanges } from '../pages/page-changes.js'
import type { BufferPool } from '../pages/pool.js'

export const REFERENCE_BYTES = 24
const VALUE_ID = 32
const PAGE_INDEX = 40
const PAGE_LENGTH = 44
/** Pages freed by one mini-transaction. */
const FREE_STEP = 48

interface Written {
  reference: Buffer
  pages: number[]
}

export class OverflowValues {
  readonly #dataBytes: number
  readonly #listEntries: number

  constructor(
    readonly pool: BufferPool,
    readonly evictor: Evictor,
    readonly allocator: Allocator,
    readonly changes: PageChanges,
  ) {
    this.#dataBytes = pool.pageSize - PAGE_HEADER_BYTES
    this.#listEntries = this.#dataBytes >> 2
  }

  /** Blocks that a value of this length will need. */
  pagesFor(length: number): number {
    const data = Math.max(1, Math.ceil(length / this.#dataBytes))
    return data === 1 ? 1 : data + Math.ceil(data / this.#listEntries) + 1
  }

  /** Writes a value into reserved pages. On failure nothing is left. */
  write(tableId: number, value: Uint8Array): Written {
    const pages: number[] = []
    try {
      const id = this.#newId()
      const data: number[] = []
      for (let at = 0, index = 0; at < value.length || index === 0; at += this.#dataBytes, index++) {
        const length = Math.min(this.#dataBytes, value.length - at)
        data.push(
          this.#page(pages, tableId, 0, id, index, length, (u8, to) => {
            u8.set(value.subarray(at, at + length), to)
          }),
        )
      }
      let level = 0
      let ids = data
      while (ids.length > 1) {
        level++
        const lists: number[] = []
        for (let first = 0; first < ids.length; first += this.#listEntries) {
          const part = ids.slice(first, first + this.#listEntries)
          lists.push(
            this.#page(pages, tableId, level, id, lists.length, part.length, (u8, to) => {
              new Int32Array(u8.buffer, to, part.length).set(part)
            }),
          )
        }
        ids = lists
      }
      assert(level <= 2, 'three levels hold every value')
      const reference = Buffer.alloc(REFERENCE_BYTES)
      reference.writeDoubleLE(id, 0)
      reference.writeDoubleLE(value.length, 8)
      reference.writeInt32LE(ids[0] as number, 16)
      reference.writeInt32LE(level, 20)
      return { reference, pages }
    } catch (error) {
      this.discard(pages)
      throw error
    }
  }

  #newId(): number {
    return Math.floor(Math.random() * 2 ** 53)
  }

  #page(
    pages: number[],
    tableId: number,
    level: number,
    id: number,
    index: number,
    length: number,
    fill: (u8: Uint8Array, to: number) => void,
  ): number {
    const page = this.allocator.reservePage()
    pages.push(page)
    const frame = this.evictor.claim()
    const memory = this.pool.memoryOf(frame)
    const base = this.pool.baseOf(frame)
    memory.u8.fill(0, base + 4, base + this.pool.pageSize)
    memory.i32[(base + PAGE_ID) >> 2] = page
    memory.u8[base + PAGE_KIND] = KIND_OVERFLOW
    memory.u8[base + PAGE_LEVEL] = level
    memory.i32[(base + PAGE_TABLE) >> 2] = tableId
    memory.f64[(base + VALUE_ID) >> 3] = id
    memory.i32[(base + PAGE_INDEX) >> 2] = index
    memory.i32[(base + PAGE_LENGTH) >> 2] = length
    fill(memory.u8, base + PAGE_HEADER_BYTES)
    faultPoint('overflow.filled')
    this.evictor.publish(frame, page)
    return page
  }

  /** Gives back pages that were written and not adopted: by their writer, or by the repair of his commit. */
  discard(pages: number[]): void {
    const reserved = PAGE_RESERVED + this.pool.participants.slot
    for (const page of pages) {
      if ((this.pool.region.pageState[page] as number) !== reserved) continue
      this.evictor.discard(page)
      this.allocator.unreservePage(page)
    }
  }

  /** The pages of a committed value leave their writer's reserve. Repeatable. Commit latch. */
  adopt(pages: readonly number[]): void {
    const { pageState, control } = this.pool.region
    const fresh = PAGE_FRESH + ((control.i32[L.EPOCH_I] as number) & 1)
    for (const page of pages) {
      if ((pageState[page] as number) >= PAGE_RESERVED) pageState[page] = fresh
    }
  }

  /** All pages of a value, lists included. For the repairer, and for verify. `pages` has those before a damaged one. */
  pagesOf(reference: Uint8Array, pages: number[] = []): number[] {
    const { root, level, id } = decode(reference)
    this.#collect(root, level, 0, id, pages)
    return pages
  }

  #collect(page: number, level: number, index: number, id: number, pages: number[]): void {
    pages.push(page)
    if (level === 0) return
    this.#list(page, level, index, id).forEach((child, i) => {
      this.#collect(child, level - 1, index * this.#listEntries + i, id, pages)
    })
  }

  /** The value, in a Buffer of its own. */
  read(reference: Uint8Array): Buffer {
    const { root, level, id, length } = decode(reference)
    const value = Buffer.allocUnsafeSlow(length)
    this.#readPage(root, level, 0, id, value)
    return value
  }

  #readPage(page: number, level: number, index: number, id: number, value: Buffer): void {
    if (level > 0) {
      this.#list(page, level, index, id).forEach((child, i) => {
        this.#readPage(child, level - 1, index * this.#listEntries + i, id, value)
      })
      return
    }
    const { pool } = this
    const at = index * this.#dataBytes
    const length = Math.min(this.#dataBytes, value.length - at)
    for (;;) {
      pool.fix(page)
      const { memory, base, version } = pool
      const good = this.#stamped(page, 0, index, id) && (memory.i32[(base + PAGE_LENGTH) >> 2] as number) === length
      if (good) memory.buffer.copy(value, at, base + PAGE_HEADER_BYTES, base + PAGE_HEADER_BYTES + length)
      if (!pool.valid(memory, base, version)) continue
      if (!good) throw lost(page)
      return
    }
  }

  #stamped(page: number, level: number, index: number, id: number): boolean {
    const { memory, base } = this.pool
    return (
      (memory.i32[(base + PAGE_ID) >> 2] as number) === page &&
      (memory.u8[base + PAGE_KIND] as number) === KIND_OVERFLOW &&
      (memory.u8[base + PAGE_LEVEL] as number) === level &&
      (memory.f64[(base + VALUE_ID) >> 3] as number) === id &&
      (memory.i32[(base + PAGE_INDEX) >> 2] as number) === index
    )
  }

  #list(page: number, level: number, index: number, id: number): Int32Array {
    const { pool } = this
    for (;;) {
      pool.fix(page)
      const { memory, base, version } = pool
      const entries = memory.i32[(base + PAGE_LENGTH) >> 2] as number
      const good = this.#stamped(page, level, index, id) && entries >= 0 && entries <= this.#listEntries
      const first = (base + PAGE_HEADER_BYTES) >> 2
      const list = good ? memory.i32.slice(first, first + entries) : new Int32Array(0)
      if (!pool.valid(memory, base, version)) continue
      if (!good) throw lost(page)
      return list
    }
  }

  /**
   * Frees a value piece by piece: each mini-transaction shortens the list that it frees from, so that a death in between
   * neither loses nor doubles a page. A value that is gone already (its root is free, or another's) is left alone, so the
   * call may be repeated. Commit latch.
   */
  free(reference: Uint8Array): void {
    const { root, level, id } = decode(reference)
    if (!this.#stands(root, level, id)) return
    if (level > 0) this.#emptyList(root, level, 0, id)
    this.changes.begin()
    this.changes.freePage(root, ROLE_DONOR)
    this.changes.end()
  }

  /** False when the value has been freed already. Commit latch. */
  stands(reference: Uint8Array): boolean {
    const { root, level, id } = decode(reference)
    return this.#stands(root, level, id)
  }

  #stands(root: number, level: number, id: number): boolean {
    const state = this.pool.region.pageState[root] as number
    if (state === PAGE_FREE || state >= PAGE_FREED) return false
    // Nobody changes the page now, but its frame may be taken from it while it is looked at.
    for (;;) {
      this.pool.fix(root)
      const { memory, base, version } = this.pool
      const stands = this.#stamped(root, level, 0, id)
      if (this.pool.valid(memory, base, version)) return stands
    }
  }

  #emptyList(page: number, level: number, index: number, id: number): void {
    for (;;) {
      const list = this.#list(page, level, index, id)
      if (list.length === 0) return
      const step = level > 1 ? 1 : Math.min(FREE_STEP, list.length)
      const from = list.length - step
      if (level > 1) this.#emptyList(list[from] as number, level - 1, index * this.#listEntries + from, id)
      this.changes.begin()
      const handle = this.changes.fix(page, ROLE_DONOR)
      for (let i = from; i < list.length; i++) this.changes.freePage(list[i] as number, ROLE_DONOR)
      this.changes.saveRange(handle, PAGE_LENGTH, 4)
      const memory = this.pool.memoryOf(this.changes.undo.frameAt(handle))
      memory.i32[((this.changes.base[handle] as number) + PAGE_LENGTH) >> 2] = from
      this.changes.end()
    }
  }
}

function decode(reference: Uint8Array): { id: number; length: number; root: number; level: number } {
  const bytes = Buffer.from(reference.buffer, reference.byteOffset, reference.byteLength)
  return {
    id: bytes.readDoubleLE(0),
    length: bytes.readDoubleLE(8),
    root: bytes.readInt32LE(16),
    level: bytes.readInt32LE(20),
  }
}

function lost(page: number): HyphaError {
  return new HyphaError(
    'HYPHA_CORRUPT',
    `Page ${page} does not hold the large value that a row refers to. Run \`hypha verify\``,
  )
}

/** Length of the value behind a reference. */
export function referencedLength(reference: Uint8Array): number {
  return decode(reference).length
}
