/**
 * Mini-transactions: one row operation with its splits, all or nothing even when its owner dies in it.
 *
 * ```
 *   IDLE ──begin──► EDITING ──end──► RELEASING ──(all pages even, dirty, unlocked)──► IDLE
 *                     │ owner throws or dies
 *                     └──rollBack──► IDLE            RELEASING: finish ──► IDLE
 * ```
 * Thread safety: the holder of the commit latch, or the repairer of a dead one who took the latch over.
 * Invariants
 * 1. What may fail or wait (loading, frames, page ids) happens in `fix` and `allocate`, before the first byte changes.
 * 2. A page that belongs to the checkpoint in progress is copied to a shadow frame before it changes.
 * 3. `rollBack` and `finish` may be repeated, also after dying in them.
 */
import { assert } from '../base/assert.js'
import { faultPoint, faults } from '../base/fault-points.js'
import * as L from '../memory/layout.js'
import type { PageMemory } from '../memory/page-memory.js'
import type { Allocator } from './allocator.js'
import { PAGE_DROPPED, PAGE_FREED, PAGE_FRESH } from './directory.js'
import type { Evictor } from './evictor.js'
import {
  FRAME_CLAIMED,
  FRAME_FREE,
  FRAME_LOCKED,
  FRAME_RESIDENT,
  FRAME_SHADOW,
  type Frames,
  kindOf,
  owned,
} from './frames.js'
import {
  type MiniTransaction,
  PAGE_ID,
  PAGE_KIND,
  PAGE_LEVEL,
  PAGE_TABLE,
  type PageId,
  type PageRole,
  ROLE_DONOR,
  ROLE_RECEIVER,
} from './page-access.js'
import { roundsOf } from './page-image.js'
import type { BufferPool } from './pool.js'
import { CONTROL, LISTED_ALLOCATED, LISTED_FREED, LISTED_ODD, type UndoArea } from './undo-area.js'

/** Page ids kept reserved, so that a split rarely asks the allocator. */
const RESERVE_LOW = 8
const RESERVE_STEP = 16
/** In the page list: the page was not in memory. */
const NO_FRAME = -2

export class PageChanges implements MiniTransaction {
  readonly pageSize: number
  readonly memory: PageMemory[] = []
  readonly base: number[] = []
  readonly pageId: PageId[] = []
  readonly #odd: boolean[] = []
  readonly #reserved: number[] = []
  readonly #i32: Int32Array
  #count = 0
  #active = false

  constructor(
    readonly pool: BufferPool,
    readonly frames: Frames,
    readonly evictor: Evictor,
    readonly allocator: Allocator,
    readonly undo: UndoArea,
  ) {
    this.pageSize = pool.pageSize
    this.#i32 = pool.region.control.i32
  }

  get active(): boolean {
    return this.#active
  }

  /** Page ids for the splits to come. Called before the point of no return: may fail for want of memory. */
  reservePages(count: number): void {
    if (this.#reserved.length >= Math.max(count, RESERVE_LOW)) return
    while (this.#reserved.length < count + RESERVE_STEP) this.#reserved.push(this.allocator.reservePage())
  }

  /** A reserved page id for the caller, who will offer it to `allocate`. */
  takeReserved(): number {
    return this.#reserved.pop() ?? this.allocator.reservePage()
  }

  /** The next `allocate` takes this page id. */
  offer(pageId: number): void {
    this.#reserved.push(pageId)
  }

  releaseReserve(): void {
    for (let page = this.#reserved.pop(); page !== undefined; page = this.#reserved.pop())
      this.allocator.unreservePage(page)
  }

  begin(): void {
    assert(!this.#active, 'mini-transactions do not nest')
    this.#count = 0
    this.#active = true
    this.undo.begin(this.pool.participants.token)
    if (faults.armed) faultPoint('mtr.begin')
  }

  fix(pageId: PageId, role: PageRole): number {
    for (let handle = 0; handle < this.#count; handle++) {
      if (this.pageId[handle] === pageId) return handle
    }
    const frame = this.pool.lock(pageId)
    if (faults.armed) faultPoint('mtr.locked')
    const handle = this.#enter(frame, pageId, 0, role)
    if ((this.frames.dirty[frame] as number) !== 0 && (this.frames.epoch[frame] as number) !== this.#openEpoch) {
      this.#shadow(frame, pageId)
    }
    return handle
  }

  get #openEpoch(): number {
    return this.#i32[L.EPOCH_I] as number
  }

  #enter(frame: number, pageId: PageId, flags: number, role: PageRole): number {
    const handle = this.undo.list(frame, pageId, flags, role)
    assert(handle === this.#count, 'handles follow the page list')
    this.memory[handle] = this.pool.memoryOf(frame)
    this.base[handle] = this.pool.baseOf(frame)
    this.pageId[handle] = pageId
    this.#odd[handle] = (flags & LISTED_ODD) !== 0
    this.#count = handle + 1
    return handle
  }

  /** Keeps the image that the checkpoint in progress still has to write. */
  #shadow(frame: number, pageId: PageId): void {
    const spare = this.evictor.claim()
    const memory = this.pool.memoryOf(frame)
    const base = this.pool.baseOf(frame)
    const to = this.pool.memoryOf(spare)
    const toBase = this.pool.baseOf(spare)
    memory.buffer.copy(to.u8, toBase + 4, base + 4, base + this.pageSize)
    this.frames.page[spare] = pageId
    this.frames.epoch[spare] = this.frames.epoch[frame] as number
    this.frames.dirty[spare] = (to.i32[toBase >> 2] as number) | 1
    Atomics.add(this.#i32, L.DIRTY_COUNT_I, 1)
    faultPoint('mtr.shadow')
    Atomics.store(this.frames.state, spare, FRAME_SHADOW)
    // Flushed meanwhile: the checkpoint has this very image, and may be over before it would come to the shadow.
    if (Atomics.load(this.frames.dirty, frame) === 0) this.evictor.dropShadow(spare)
    this.frames.epoch[frame] = this.#openEpoch
  }

  allocate(kind: number, level: number, tableId: number, role: PageRole): number {
    const pageId = this.#reserved.pop() ?? this.allocator.reservePage()
    const frame = this.evictor.claim()
    this.frames.page[frame] = pageId
    const handle = this.#enter(frame, pageId, LISTED_ALLOCATED | LISTED_ODD, role)
    const { token } = this.pool.participants
    this.evictor.exchangeState(frame, owned(FRAME_CLAIMED, token), owned(FRAME_LOCKED, token))
    const memory = this.memory[handle] as PageMemory
    const base = this.base[handle] as number
    memory.u8.fill(0, base + 4, base + this.pageSize)
    memory.i32[(base + PAGE_ID) >> 2] = pageId
    memory.u8[base + PAGE_KIND] = kind
    memory.u8[base + PAGE_LEVEL] = level
    memory.i32[(base + PAGE_TABLE) >> 2] = tableId
    this.frames.ref[frame] = roundsOf(kind) | 1
    Atomics.store(this.pool.region.frameOf, pageId, frame + 1)
    if (faults.armed) faultPoint('mtr.allocated')
    return handle
  }

  saveRange(handle: number, offset: number, length: number): void {
    const memory = this.memory[handle] as PageMemory
    const base = this.base[handle] as number
    assert(offset >= 4 && offset + length <= this.pageSize, 'a saved range lies in its page, past the version')
    this.undo.save(this.undo.frameAt(handle), memory.u8, base + offset, offset, length)
    if (!(this.#odd[handle] as boolean)) this.#makeOdd(handle)
    if (faults.armed) faultPoint('mtr.saved')
  }

  savePage(handle: number): void {
    this.saveRange(handle, 4, this.pageSize - 4)
  }

  #makeOdd(handle: number): void {
    this.#odd[handle] = true
    this.undo.flag(handle, LISTED_ODD)
    Atomics.add((this.memory[handle] as PageMemory).i32, (this.base[handle] as number) >> 2, 1)
  }

  /** Saves bytes of the control segment that the mini-transaction will change. */
  saveControl(offset: number, length: number): void {
    this.undo.save(CONTROL, this.pool.region.control.u8, offset, offset, length)
  }

  free(handle: number): void {
    this.undo.flag(handle, LISTED_FREED)
  }

  /** Frees a page that is not a node of a tree, without bringing it into memory. */
  freePage(pageId: PageId, role: PageRole): void {
    if (Atomics.load(this.pool.region.frameOf, pageId) !== 0) {
      this.free(this.fix(pageId, role))
      return
    }
    this.undo.list(NO_FRAME, pageId, LISTED_FREED, role)
    this.pageId[this.#count++] = 0
  }

  end(): void {
    if (faults.armed) faultPoint('mtr.edited')
    this.undo.edited()
    if (faults.armed) faultPoint('mtr.releasing')
    this.#releaseAll(this.pool.participants.token)
    this.undo.clear()
    this.#active = false
    if (faults.armed) faultPoint('mtr.end')
  }

  #releaseAll(owner: number): void {
    const pages = this.undo.pages
    for (let role = ROLE_RECEIVER; role <= ROLE_DONOR; role++) {
      for (let i = 0; i < pages; i++) {
        if (this.undo.roleAt(i) === role) this.#release(i, owner)
      }
    }
  }

  #release(index: number, owner: number): void {
    const frame = this.undo.frameAt(index)
    if (frame === NO_FRAME) {
      this.#markFreed(this.undo.pageAt(index))
      return
    }
    const { state, dirty, epoch, page } = this.frames
    if ((state[frame] as number) !== owned(FRAME_LOCKED, owner)) return
    const flags = this.undo.flagsAt(index)
    if ((flags & LISTED_FREED) !== 0) {
      this.#releaseFreed(index, frame)
      return
    }
    if ((flags & LISTED_ODD) !== 0) {
      const memory = this.pool.memoryOf(frame)
      const word = this.pool.baseOf(frame) >> 2
      const open = this.#openEpoch
      if ((flags & LISTED_ALLOCATED) !== 0) {
        this.pool.region.pageState[page[frame] as number] = PAGE_FRESH + (open & 1)
      }
      const odd = memory.i32[word] as number
      if ((odd & 1) !== 0) {
        if ((dirty[frame] as number) === 0) Atomics.add(this.#i32, L.DIRTY_COUNT_I, 1)
        epoch[frame] = open
        dirty[frame] = (odd + 1) | 1
        Atomics.store(memory.i32, word, (odd + 1) | 0)
        if (faults.armed) faultPoint('mtr.even')
      }
    }
    Atomics.store(state, frame, FRAME_RESIDENT)
  }

  #releaseFreed(index: number, frame: number): void {
    const page = this.undo.pageAt(index)
    const { region } = this.pool
    const memory = this.pool.memoryOf(frame)
    const word = this.pool.baseOf(frame) >> 2
    if (((memory.i32[word] as number) & 1) === 0) Atomics.add(memory.i32, word, 1)
    Atomics.compareExchange(region.frameOf, page, frame + 1, 0)
    this.#markFreed(page)
    if ((this.frames.dirty[frame] as number) !== 0) Atomics.sub(this.#i32, L.DIRTY_COUNT_I, 1)
    this.frames.dirty[frame] = 0
    this.frames.page[frame] = 0
    if (faults.armed) faultPoint('mtr.freed')
    Atomics.store(this.frames.state, frame, FRAME_FREE)
  }

  #markFreed(page: number): void {
    const { pageState } = this.pool.region
    // Said again by a repairer, after others may have freed the id for good and taken it: only what is still in use.
    const state = pageState[page] as number
    if (state >= PAGE_FREED || state === 0) return
    const parity = this.#openEpoch & 1
    pageState[page] = state === PAGE_FRESH + parity ? PAGE_DROPPED : PAGE_FREED + parity
    Atomics.add(this.#i32, L.FREED_COUNT_I, 1)
  }

  /** Takes everything back, whosever it was. */
  rollBack(): void {
    const { control } = this.pool.region
    const { owner } = this.undo
    this.pool.region.followDirectory()
    this.pool.region.followFrames()
    this.undo.backwards((frame, offset, at, length) => {
      if (frame === CONTROL) control.u8.copyWithin(offset, at, at + length)
      else control.buffer.copy(this.pool.memoryOf(frame).u8, this.pool.baseOf(frame) + offset, at, at + length)
    })
    control.f64[L.VERSION_HEAD_F] = control.f64[L.UNDO_VERSION_HEAD_F] as number
    faultPoint('repair.restored')
    for (let i = this.undo.pages - 1; i >= 0; i--) this.#rollBackPage(i, owner)
    this.undo.clear()
    this.#active = false
    this.#count = 0
  }

  #rollBackPage(index: number, owner: number): void {
    const frame = this.undo.frameAt(index)
    if (frame === NO_FRAME) return
    const { state, dirty } = this.frames
    const memory = this.pool.memoryOf(frame)
    const word = this.pool.baseOf(frame) >> 2
    if ((this.undo.flagsAt(index) & LISTED_ALLOCATED) !== 0) {
      const page = this.undo.pageAt(index)
      const seen = Atomics.load(state, frame)
      if (seen !== owned(FRAME_LOCKED, owner) && seen !== owned(FRAME_CLAIMED, owner)) return
      Atomics.compareExchange(this.pool.region.frameOf, page, frame + 1, 0)
      if (owner === this.pool.participants.token) this.#reserved.push(page)
      this.evictor.release(frame)
      return
    }
    if ((state[frame] as number) !== owned(FRAME_LOCKED, owner)) return
    const odd = memory.i32[word] as number
    if ((odd & 1) !== 0) {
      // The bytes are as they were: a page that was clean stays clean, a dirty one is dirty as of the new version.
      const before = (odd - 1) | 1
      Atomics.compareExchange(dirty, frame, before, (odd + 1) | 1)
      Atomics.store(memory.i32, word, (odd + 1) | 0)
    }
    Atomics.store(state, frame, FRAME_RESIDENT)
  }

  /** All edits were made; releases what is still locked. */
  finish(): void {
    this.pool.region.followDirectory()
    this.pool.region.followFrames()
    this.#releaseAll(this.undo.owner)
    this.undo.clear()
    this.#active = false
    this.#count = 0
  }

  /** Ends whatever mini-transaction stands: takes it back, or finishes it. Commit latch. */
  settle(): void {
    const { state } = this.undo
    if (state === L.UNDO_EDITING) this.rollBack()
    else if (state === L.UNDO_RELEASING) this.finish()
    this.#unlockLeftBehind()
  }

  /**
   * With no mini-transaction open: pages that were locked and not yet listed when their owner died or
   * threw. Only the holder of the commit latch locks pages, so whatever is locked now was left behind, unchanged.
   */
  #unlockLeftBehind(): void {
    const { state } = this.frames
    const ready = Atomics.load(this.#i32, L.FRAMES_READY_I)
    for (let frame = 0; frame < ready; frame++) {
      if (kindOf(state[frame] as number) === FRAME_LOCKED) Atomics.store(state, frame, FRAME_RESIDENT)
    }
  }
}
