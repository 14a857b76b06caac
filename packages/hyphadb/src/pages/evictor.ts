/**
 * Frames for those who need one: never used ones first, then the clock's victim. Writes a dirty victim to its block when
 * nothing clean is left.
 *
 * Thread safety: any thread of any process; each transition is one compareExchange (see frames.ts), so a thread that dies
 * leaves frames in states with its token, which the reaper puts back.
 * A flush copies the page, checks that it did not change meanwhile, writes the copy to a new block, and only then makes
 * the map name that block and clears the dirty mark, both only if the page still has the copied version.
 */
import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import * as L from '../memory/layout.js'
import { PageMemory } from '../memory/page-memory.js'
import type { Participants } from '../memory/participants.js'
import type { Allocator } from './allocator.js'
import {
  FRAME_CLAIMED,
  FRAME_EVICTING,
  FRAME_FREE,
  FRAME_ORPHAN,
  FRAME_RESIDENT,
  FRAME_SHADOW,
  type Frames,
  kindOf,
  owned,
} from './frames.js'
import { PAGE_KIND } from './page-access.js'
import { prepareForDisk, roundsOf } from './page-image.js'
import type { BufferPool } from './pool.js'

const CLAIM_PATIENCE_MS = 10_000
const COPY_ATTEMPTS = 8
const ATTEMPTS_WITHOUT_WAITING = 4

export class Evictor {
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #image: PageMemory
  /** Memory could not be had: the pool stays as it is. */
  #growthRefused = false

  constructor(
    readonly pool: BufferPool,
    readonly frames: Frames,
    readonly allocator: Allocator,
    readonly participants: Participants,
  ) {
    this.#i32 = pool.region.control.i32
    this.#f64 = pool.region.control.f64
    this.#image = new PageMemory(new ArrayBuffer(pool.pageSize))
  }

  exchangeState(frame: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.frames.state, frame, from, to) === from
  }

  /** A frame of ours: state CLAIMED, version odd, no page. */
  claim(): number {
    let deadline = 0
    for (;;) {
      const fresh = this.#claimFresh()
      if (fresh >= 0) return fresh
      const victim = this.#sweep()
      if (victim >= 0) return victim
      if (deadline === 0) deadline = performance.now() + CLAIM_PATIENCE_MS
      else if (performance.now() > deadline) {
        throw new HyphaError(
          'HYPHA_BUSY',
          'No page of the buffer pool can be freed: all are in use by others who do not move. Raise `memory`, or look at the processes that have the database open',
        )
      }
    }
  }

  /**
   * For readers, who wait for nobody: -1 when a frame is to be had only with the allocator latch, and that is held. (Its
   * holder may be stopped; a reader then does without a frame.)
   */
  claimWithoutWaiting(): number {
    for (let attempt = 0; attempt < ATTEMPTS_WITHOUT_WAITING; attempt++) {
      const fresh = this.#claimFresh(true)
      if (fresh >= 0) return fresh
      const victim = this.#sweep(true)
      if (victim >= 0) return victim
    }
    return -1
  }

  #claimFresh(withoutWaiting = false): number {
    for (;;) {
      const ready = Atomics.load(this.#i32, L.FRAMES_READY_I)
      if (Atomics.load(this.#i32, L.FRAMES_FRESH_I) >= ready) {
        if (this.#growthRefused || ready >= this.pool.region.geometry.framesMax) return -1
        if ((withoutWaiting && this.allocator.latch.owner !== 0) || !this.#grow()) return -1
        continue
      }
      const frame = Atomics.add(this.#i32, L.FRAMES_FRESH_I, 1)
      if (frame >= ready) continue
      if (this.exchangeState(frame, FRAME_FREE, owned(FRAME_CLAIMED, this.participants.token)))
        return this.#claimed(frame)
    }
  }

  #grow(): boolean {
    try {
      return this.allocator.exclusively(() => {
        const ready = this.#i32[L.FRAMES_READY_I] as number
        if (Atomics.load(this.#i32, L.FRAMES_FRESH_I) < ready) return true
        const grown = this.pool.region.growFrames()
        Atomics.store(this.#i32, L.FRAMES_FRESH_I, ready)
        return grown
      })
    } catch (error) {
      if (!isHyphaError(error, 'HYPHA_SHM_FULL') || (this.#i32[L.FRAMES_READY_I] as number) === 0) throw error
      this.#growthRefused = true
      return false
    }
  }

  #claimed(frame: number): number {
    if (frame >= this.pool.region.framesMapped) this.pool.region.followFrames()
    const memory = this.pool.memoryOf(frame)
    const word = this.pool.baseOf(frame) >> 2
    // Odd and never seen before: a loader that was stopped half way cannot make it even any more.
    Atomics.add(memory.i32, word, ((memory.i32[word] as number) & 1) === 0 ? 1 : 2)
    this.frames.page[frame] = 0
    this.frames.dirty[frame] = 0
    return frame
  }

  /** One round of the clock's hand over all frames; -1 when nothing could be had this time. */
  #sweep(withoutWaiting = false): number {
    const ready = Atomics.load(this.#i32, L.FRAMES_READY_I)
    const { state, dirty } = this.frames
    let dirtyVictim = -1
    let tries = 0
    // Ten rounds age every page that is not in use down to nothing.
    for (let step = ready * 10; step > 0; step--) {
      const frame = (Atomics.add(this.#i32, L.CLOCK_HAND_I, 1) & 0x7fffffff) % ready
      const seen = state[frame] as number
      if (seen === FRAME_FREE) {
        if (this.exchangeState(frame, FRAME_FREE, owned(FRAME_CLAIMED, this.participants.token)))
          return this.#claimed(frame)
        continue
      }
      if (seen !== FRAME_RESIDENT || !this.#aged(frame)) continue
      if ((dirty[frame] as number) === 0) {
        if (this.#evict(frame)) return frame
      } else {
        if (dirtyVictim < 0) dirtyVictim = frame
        // Clean pages are preferred, but not at the price of the whole pool's memory of what is used. Two rounds at the
        // most: a descent needs its inner page until the child is there, and an inner page survives four.
        if (++tries > 64 || step < ready * 8) break
      }
    }
    if (withoutWaiting && this.allocator.latch.owner !== 0) return -1
    if (dirtyVictim >= 0 && this.flush(dirtyVictim) && this.#evict(dirtyVictim)) return dirtyVictim
    return -1
  }

  /** True when the page was not used since the hand came by last and has no rounds left. */
  #aged(frame: number): boolean {
    const { ref } = this.frames
    const value = ref[frame] as number
    if ((value & 1) !== 0) {
      if (frame >= this.pool.region.framesMapped) this.pool.region.followFrames()
      ref[frame] = roundsOf(this.pool.memoryOf(frame).u8[this.pool.baseOf(frame) + PAGE_KIND] as number)
      return false
    }
    if (value === 0) return true
    ref[frame] = value - 2
    return false
  }

  /** Takes a clean page's frame: CLAIMED and ours. */
  #evict(frame: number): boolean {
    const { token } = this.participants
    const evicting = owned(FRAME_EVICTING, token)
    if (!this.exchangeState(frame, FRAME_RESIDENT, evicting)) return false
    faultPoint('evict.evicting')
    if ((this.frames.dirty[frame] as number) !== 0) {
      this.exchangeState(frame, evicting, FRAME_RESIDENT)
      return false
    }
    if (!this.exchangeState(frame, evicting, owned(FRAME_CLAIMED, token))) return false
    faultPoint('evict.claimed')
    const page = this.frames.page[frame] as number
    this.#claimed(frame) // odd before the page can be loaded elsewhere
    if (page !== 0) Atomics.compareExchange(this.pool.region.frameOf, page, frame + 1, 0)
    this.#f64[L.POOL_EVICTIONS_F] = (this.#f64[L.POOL_EVICTIONS_F] as number) + 1
    return true
  }

  /** Gives back a frame that we claimed. */
  release(frame: number): void {
    this.frames.page[frame] = 0
    this.frames.dirty[frame] = 0
    this.frames.ref[frame] = 0
    Atomics.store(this.frames.state, frame, FRAME_FREE)
  }

  /** Gives up a shadow, unless a flusher has done so. */
  dropShadow(frame: number): void {
    if (!this.exchangeState(frame, FRAME_SHADOW, owned(FRAME_CLAIMED, this.participants.token))) return
    Atomics.sub(this.#i32, L.DIRTY_COUNT_I, 1)
    this.#claimed(frame) // a flusher that has copied it finds another version
    this.release(frame)
  }

  /** Frees frames that we claimed for a page when an exception went by. For a thread that is not in the middle of that. */
  releaseClaimed(): void {
    const claimed = owned(FRAME_CLAIMED, this.participants.token)
    const orphan = owned(FRAME_ORPHAN, this.participants.token)
    const ready = Atomics.load(this.#i32, L.FRAMES_READY_I)
    for (let frame = 0; frame < ready; frame++) {
      const state = this.frames.state[frame] as number
      if (state !== claimed && state !== orphan) continue
      const page = this.frames.page[frame] as number
      if ((this.frames.dirty[frame] as number) !== 0) Atomics.sub(this.#i32, L.DIRTY_COUNT_I, 1)
      this.#claimed(frame)
      if (page > 0) Atomics.compareExchange(this.pool.region.frameOf, page, frame + 1, 0)
      this.release(frame)
    }
  }

  /** Drops a page that nobody refers to, dirty or not. */
  discard(page: number): void {
    for (;;) {
      const frame = Atomics.load(this.pool.region.frameOf, page) - 1
      if (frame < 0 || (this.frames.page[frame] as number) !== page) return
      if (!this.exchangeState(frame, FRAME_RESIDENT, owned(FRAME_CLAIMED, this.participants.token))) {
        if (kindOf(Atomics.load(this.frames.state, frame)) === FRAME_FREE) return
        continue
      }
      if ((this.frames.dirty[frame] as number) !== 0) Atomics.sub(this.#i32, L.DIRTY_COUNT_I, 1)
      this.#claimed(frame)
      Atomics.compareExchange(this.pool.region.frameOf, page, frame + 1, 0)
      this.release(frame)
      return
    }
  }

  /** Makes a page of a reserved id readable: `frame` is ours and filled from byte 4 on. It is dirty from birth. */
  publish(frame: number, page: number): void {
    const memory = this.pool.memoryOf(frame)
    const word = this.pool.baseOf(frame) >> 2
    const odd = memory.i32[word] as number
    this.frames.page[frame] = page
    this.frames.epoch[frame] = this.#i32[L.EPOCH_I] as number
    this.frames.dirty[frame] = (odd + 1) | 1
    this.frames.ref[frame] = roundsOf(memory.u8[(word << 2) + PAGE_KIND] as number)
    Atomics.add(this.#i32, L.DIRTY_COUNT_I, 1)
    Atomics.store(this.pool.region.frameOf, page, frame + 1)
    Atomics.store(memory.i32, word, (odd + 1) | 0)
    Atomics.store(this.frames.state, frame, FRAME_RESIDENT)
  }

  /**
   * Writes a dirty page or shadow to a new block. True: the frame is clean (a shadow: free). False: somebody else is at
   * it, it changes too fast, or it must wait for the checkpoint in progress.
   */
  flush(frame: number): boolean {
    const { flush, dirty } = this.frames
    if (Atomics.compareExchange(flush, frame, 0, this.participants.token) !== 0) return false
    try {
      return (dirty[frame] as number) === 0 || this.#flushClaimed(frame)
    } finally {
      Atomics.store(flush, frame, 0)
    }
  }

  #flushClaimed(frame: number): boolean {
    const { dirty, epoch: epochs, page } = this.frames
    if (frame >= this.pool.region.framesMapped) this.pool.region.followFrames()
    const memory = this.pool.memoryOf(frame)
    const word = this.pool.baseOf(frame) >> 2
    const isShadow = this.isShadow(frame)
    const version = this.#copy(memory, word, isShadow)
    if (version === undefined) return false
    const epoch = epochs[frame] as number
    const pageId = page[frame] as number
    const unchanged = (): boolean =>
      Atomics.load(memory.i32, word) === version &&
      (dirty[frame] as number) === (version | 1) &&
      (page[frame] as number) === pageId
    if (pageId === 0 || !unchanged()) return false
    prepareForDisk(this.#image, this.pool.pageSize)
    const block = this.allocator.allocateBlock(pageId)
    try {
      faultPoint('flush.allocated')
      this.pool.file.write(block, this.#image.u8)
      faultPoint('flush.written')
      if (!this.allocator.mapPage(pageId, block, epoch, unchanged)) return false
    } catch (error) {
      this.allocator.releaseInFlight(pageId, block)
      throw error
    }
    faultPoint('flush.mapped')
    this.#f64[L.POOL_WRITES_F] = (this.#f64[L.POOL_WRITES_F] as number) + 1
    return this.#clean(frame, version)
  }

  /** Copies the frame's page; the version copied, or undefined when it changes all the time. A shadow's is odd and final. */
  #copy(memory: PageMemory, word: number, isShadow: boolean): number | undefined {
    const base = word << 2
    for (let attempt = 0; attempt < COPY_ATTEMPTS; attempt++) {
      const version = Atomics.load(memory.i32, word)
      if ((version & 1) !== 0 && !isShadow) continue
      memory.buffer.copy(this.#image.u8, 0, base, base + this.pool.pageSize)
      if (Atomics.load(memory.i32, word) === version) return version
    }
    return undefined
  }

  /** The dirty mark names the version that made the page dirty: it goes only if the page was not changed since. */
  #clean(frame: number, version: number): boolean {
    const { state, dirty } = this.frames
    faultPoint('flush.cleaning')
    if (Atomics.compareExchange(dirty, frame, version | 1, 0) !== (version | 1)) return false
    Atomics.sub(this.#i32, L.DIRTY_COUNT_I, 1)
    if (Atomics.load(state, frame) === FRAME_SHADOW) Atomics.store(state, frame, FRAME_FREE)
    return true
  }

  get dirtyCount(): number {
    return Math.max(0, Atomics.load(this.#i32, L.DIRTY_COUNT_I))
  }

  isShadow(frame: number): boolean {
    return kindOf(Atomics.load(this.frames.state, frame)) === FRAME_SHADOW
  }
}
