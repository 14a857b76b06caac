/**
 * The undo area: what a mini-transaction has changed, so that it can be taken back when its owner dies or throws, and so
 * that readers of a page that is being changed find it as it was.
 *
 * Words: UNDO_STATE (idle, editing, releasing), UNDO_USED (bytes of ranges), UNDO_PAGES (entries of the page list),
 * UNDO_SERIAL (grows with each mini-transaction), UNDO_VERSION_HEAD (head of the version ring at its start), UNDO_OWNER
 * (token of whoever began it: a repairer may die too, and then the latch's last owner is not the pages').
 *
 * Page list entry, 16 bytes: frame, page id, flags, role.
 * Range, 16 bytes + bytes padded to 8: frame (-1: control segment), offset (in the page, or in the segment), length, the
 * position of the range before it (-1: none), bytes.
 *
 * Invariants
 * 1. A range is complete before UNDO_USED covers it; UNDO_USED covers it before the bytes it saves change.
 * 2. A page is in the list, and odd, before its first byte changes. One that is locked and not listed is unchanged.
 * 3. State EDITING: taking back all ranges, last first, gives the state before. State RELEASING: all edits are complete;
 *    what remains (dirty marks, page states, versions) is done by anybody, any number of times.
 */

import { assert } from '../base/assert.js'
import type { ControlMemory } from '../memory/control-memory.js'
import * as L from '../memory/layout.js'
import type { PageMemory } from '../memory/page-memory.js'

export const LISTED_ODD = 1
export const LISTED_ALLOCATED = 2
export const LISTED_FREED = 4

const RANGE_HEADER = 16
export const CONTROL = -1

export class UndoArea {
  readonly #i32: Int32Array
  readonly #u8: Uint8Array
  readonly #buffer: Buffer
  readonly #listWord: number
  readonly #bytes: number
  readonly #capacity: number
  readonly pageSize: number

  constructor(
    readonly control: ControlMemory,
    geometry: L.Geometry,
  ) {
    this.#i32 = control.i32
    this.#u8 = control.u8
    this.#buffer = control.buffer
    this.#listWord = geometry.undoListOffset >> 2
    this.#bytes = geometry.undoBytesOffset
    this.#capacity = geometry.undoBytes
    this.pageSize = geometry.pageSize
  }

  /** Grows with each mini-transaction. */
  get serial(): number {
    return Atomics.load(this.#i32, L.UNDO_SERIAL_I)
  }

  get state(): number {
    return Atomics.load(this.#i32, L.UNDO_STATE_I)
  }

  begin(owner: number): void {
    const i32 = this.#i32
    i32[L.UNDO_OWNER_I] = owner
    i32[L.UNDO_USED_I] = 0
    i32[L.UNDO_PAGES_I] = 0
    i32[L.UNDO_RANGES_I] = -1
    i32[L.UNDO_SERIAL_I] = ((i32[L.UNDO_SERIAL_I] as number) + 1) | 0
    this.control.f64[L.UNDO_VERSION_HEAD_F] = this.control.f64[L.VERSION_HEAD_F] as number
    Atomics.store(i32, L.UNDO_STATE_I, L.UNDO_EDITING)
  }

  /** Token of whose mini-transaction it is: its pages are locked with it, whoever repairs. */
  get owner(): number {
    return this.#i32[L.UNDO_OWNER_I] as number
  }

  /** From here on the change stands. */
  edited(): void {
    Atomics.store(this.#i32, L.UNDO_STATE_I, L.UNDO_RELEASING)
  }

  clear(): void {
    Atomics.store(this.#i32, L.UNDO_STATE_I, L.UNDO_IDLE)
  }

  // The page list

  get pages(): number {
    return this.#i32[L.UNDO_PAGES_I] as number
  }

  list(frame: number, page: number, flags: number, role: number): number {
    const index = this.pages
    assert(index < L.UNDO_PAGE_LIST_MAX, 'a mini-transaction touches few pages')
    const word = this.#listWord + index * 4
    this.#i32[word] = frame
    this.#i32[word + 1] = page
    this.#i32[word + 2] = flags
    this.#i32[word + 3] = role
    Atomics.store(this.#i32, L.UNDO_PAGES_I, index + 1)
    return index
  }

  frameAt(index: number): number {
    return this.#i32[this.#listWord + index * 4] as number
  }

  setFrame(index: number, frame: number): void {
    this.#i32[this.#listWord + index * 4] = frame
  }

  pageAt(index: number): number {
    return this.#i32[this.#listWord + index * 4 + 1] as number
  }

  flagsAt(index: number): number {
    return this.#i32[this.#listWord + index * 4 + 2] as number
  }

  roleAt(index: number): number {
    return this.#i32[this.#listWord + index * 4 + 3] as number
  }

  flag(index: number, flag: number): void {
    const word = this.#listWord + index * 4 + 2
    this.#i32[word] = (this.#i32[word] as number) | flag
  }

  // Ranges

  save(frame: number, source: Uint8Array, sourceOffset: number, offset: number, length: number): void {
    const i32 = this.#i32
    const used = i32[L.UNDO_USED_I] as number
    const size = RANGE_HEADER + ((length + 7) & ~7)
    assert(used + size <= this.#capacity, 'the undo area holds every mini-transaction')
    const at = this.#bytes + used
    const word = at >> 2
    i32[word] = frame
    i32[word + 1] = offset
    i32[word + 2] = length
    i32[word + 3] = i32[L.UNDO_RANGES_I] as number
    copyIn(source, sourceOffset, this.#u8, this.#buffer, at + RANGE_HEADER, length)
    i32[L.UNDO_RANGES_I] = used
    Atomics.store(i32, L.UNDO_USED_I, used + size)
  }

  /** Calls back for each range, last first: (frame, offset in its page or segment, offset of the bytes here, length). */
  backwards(visit: (frame: number, offset: number, at: number, length: number) => void): void {
    const i32 = this.#i32
    // A range whose link was stored but not yet covered by UNDO_USED has saved nothing that changed since.
    let range = i32[L.UNDO_RANGES_I] as number
    const used = Atomics.load(i32, L.UNDO_USED_I)
    for (let guard = used / RANGE_HEADER; range >= 0 && guard >= 0; guard--) {
      if (range >= this.#capacity) return
      const word = (this.#bytes + range) >> 2
      const length = i32[word + 2] as number
      if (range < used && length >= 0 && length <= this.#capacity) {
        visit(i32[word] as number, i32[word + 1] as number, this.#bytes + range + RANGE_HEADER, length)
      }
      const before = i32[word + 3] as number
      if (before >= range) return
      range = before
    }
  }

  /**
   * A reader's view of a page that is odd: a copy with this frame's ranges laid over it, checked against the same odd
   * version and the same mini-transaction. False when either moved.
   */
  copyBeforeImage(frame: number, memory: PageMemory, base: number, version: number, copy: PageMemory): boolean {
    const serial = Atomics.load(this.#i32, L.UNDO_SERIAL_I)
    const state = this.state
    if (state === L.UNDO_IDLE) return false
    memory.buffer.copy(copy.u8, 0, base, base + this.pageSize)
    if (state === L.UNDO_EDITING) {
      this.backwards((of, offset, at, length) => {
        if (of !== frame || offset < 0 || offset + length > this.pageSize) return
        this.#buffer.copy(copy.u8, offset, at, at + length)
      })
    }
    return (
      Atomics.load(memory.i32, base >> 2) === version &&
      this.state === state &&
      Atomics.load(this.#i32, L.UNDO_SERIAL_I) === serial
    )
  }
}

/** Short ranges by loop, long ones by a native copy (PLATFORM: a loop is faster to about 64 bytes). */
function copyIn(
  source: Uint8Array,
  from: number,
  target: Uint8Array,
  buffer: Buffer,
  to: number,
  length: number,
): void {
  if (length <= 48) {
    for (let i = 0; i < length; i++) target[to + i] = source[from + i] as number
  } else {
    buffer.set(source.subarray(from, from + length), to)
  }
}
