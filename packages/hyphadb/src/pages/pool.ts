/**
 * The buffer pool, reading side: finds a page in memory or brings it there.
 *
 * Thread safety: any thread of any process, without latches. `fix` never waits for a living thread that does not move: a
 * page being changed is read through its undo copy; a page that somebody else is loading, or for which a frame is to be had
 * only by waiting for the allocator latch, is read from its block.
 * The pages that `fix` hands out are consistent once `valid` has said so.
 *
 * A private copy is handed out with an odd version and is valid only as long as that of which it is a copy stands still:
 * the same mini-transaction in the same state, or the same load of the same block. A before-image that outlived its
 * mini-transaction would lead a descent into a child that has given keys away.
 */
import { HyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import * as L from '../memory/layout.js'
import { PageMemory } from '../memory/page-memory.js'
import type { Participants } from '../memory/participants.js'
import { slotOfToken } from '../memory/participants.js'
import type { Region } from '../memory/region.js'
import type { BlockFile } from './block-file.js'
import {
  FRAME_CLAIMED,
  FRAME_EVICTING,
  FRAME_FREE,
  FRAME_LOCKED,
  FRAME_ORPHAN,
  FRAME_RESIDENT,
  type Frames,
  kindOf,
  owned,
  ownerOf,
} from './frames.js'
import { PAGE_KIND, PAGE_TABLE, type PageReader } from './page-access.js'
import { imageIsGood, roundsOf } from './page-image.js'
import type { UndoArea } from './undo-area.js'

const PRIVATE_COPIES = 8
const READS_BEFORE_DAMAGE = 3
/** Rounds of looking again at a page that is being changed before its undo copy is used: about 20 microseconds. */
const PATIENCE_ODD = 300
const PATIENCE_LOADING = 2000

/** Where frames come from: the evictor. */
export interface FrameSource {
  claim(): number
  claimWithoutWaiting(): number
  release(frame: number): void
  exchangeState(frame: number, from: number, to: number): boolean
}

interface PrivateCopy {
  readonly memory: PageMemory
  /** Odd; 0 while the copy is being made. */
  version: number
  stands: () => boolean
}

export class BufferPool implements PageReader {
  readonly pageSize: number
  memory: PageMemory
  base = 0
  version = 0
  evictor!: FrameSource
  undo!: UndoArea
  reads = 0

  readonly #frameOf: Int32Array
  readonly #arenas: PageMemory[]
  readonly #arenaShift: number
  readonly #arenaMask: number
  readonly #pageShift: number
  readonly #ref: Uint8Array
  readonly #scratch: PageMemory
  readonly #copies: PrivateCopy[] = []
  #nextCopy = 0
  #copyVersion = 1

  constructor(
    readonly region: Region,
    readonly frames: Frames,
    readonly file: BlockFile,
    readonly participants: Participants,
    readonly reapDead: (slot: number) => void,
  ) {
    this.pageSize = region.geometry.pageSize
    this.#frameOf = region.frameOf
    this.#arenas = region.arenas
    this.#arenaShift = region.framesPerArenaShift
    this.#arenaMask = (1 << region.framesPerArenaShift) - 1
    this.#pageShift = Math.log2(this.pageSize)
    this.#ref = frames.ref
    this.#scratch = new PageMemory(new ArrayBuffer(this.pageSize))
    this.memory = this.#scratch
  }

  fix(pageId: number): void {
    const frame = (this.#frameOf[pageId] as number) - 1
    if (frame >= 0 && frame < this.region.framesMapped) {
      const memory = this.#arenas[frame >>> this.#arenaShift] as PageMemory
      const base = (frame & this.#arenaMask) << this.#pageShift
      const version = memory.i32[base >> 2] as number
      if ((version & 1) === 0 && (memory.i32[(base >> 2) + 1] as number) === pageId) {
        const ref = this.#ref[frame] as number
        if ((ref & 1) === 0) this.#ref[frame] = ref | 1
        this.memory = memory
        this.base = base
        this.version = version
        return
      }
    }
    this.#fixSlowly(pageId)
  }

  valid(memory: PageMemory, base: number, version: number): boolean {
    if ((version & 1) !== 0) return this.#copyStands(memory, version)
    return Atomics.load(memory.i32, base >> 2) === version
  }

  #copyStands(memory: PageMemory, version: number): boolean {
    const copy = this.#copies.find(each => each.memory === memory)
    return copy !== undefined && copy.version === version && copy.stands()
  }

  memoryOf(frame: number): PageMemory {
    return this.#arenas[frame >>> this.#arenaShift] as PageMemory
  }

  baseOf(frame: number): number {
    return (frame & this.#arenaMask) << this.#pageShift
  }

  #fixSlowly(pageId: number): void {
    this.region.followDirectory()
    const limit = this.region.control.i32[L.PAGE_LIMIT_I] as number
    if (!(pageId > 0) || pageId >= limit) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `A page refers to page ${pageId}, which does not exist. Run \`hypha verify\``,
      )
    }
    for (let round = 0; ; round++) {
      const frame = Atomics.load(this.#frameOf, pageId) - 1
      if (frame < 0) {
        if (this.#loadOrCopy(pageId)) return
        continue
      }
      if (frame >= this.region.framesMapped) this.region.followFrames()
      const memory = this.memoryOf(frame)
      const base = this.baseOf(frame)
      // The version before the state: an odd version whose frame is RESIDENT afterwards is a loader's, not a committer's.
      const version = Atomics.load(memory.i32, base >> 2)
      const state = Atomics.load(this.frames.state, frame)
      const kind = kindOf(state)
      if (kind === FRAME_CLAIMED || kind === FRAME_ORPHAN) {
        if (round > PATIENCE_LOADING && this.#readBesideLoader(pageId, frame, state)) return
      } else if (kind === FRAME_FREE) {
        Atomics.compareExchange(this.#frameOf, pageId, frame + 1, 0)
      } else {
        if ((memory.i32[(base >> 2) + 1] as number) !== pageId) continue
        if ((version & 1) === 0) {
          this.#ref[frame] = (this.#ref[frame] as number) | 1
          this.#hand(memory, base, version)
          return
        }
        if (kind === FRAME_RESIDENT) this.#makeEven(memory, base, version)
        else if (round > PATIENCE_ODD && this.#readBesideWriter(frame, memory, base, version)) return
      }
    }
  }

  #hand(memory: PageMemory, base: number, version: number): void {
    this.memory = memory
    this.base = base
    this.version = version
  }

  #privateCopy(): PrivateCopy {
    const at = this.#nextCopy
    this.#nextCopy = (at + 1) % PRIVATE_COPIES
    let copy = this.#copies[at]
    if (copy === undefined) {
      copy = { memory: new PageMemory(new ArrayBuffer(this.pageSize)), version: 0, stands: () => false }
      this.#copies[at] = copy
    }
    copy.version = 0
    return copy
  }

  #handCopy(copy: PrivateCopy, stands: () => boolean): void {
    this.#copyVersion = (this.#copyVersion + 2) | 1
    copy.version = this.#copyVersion
    copy.stands = stands
    this.#hand(copy.memory, 0, copy.version)
  }

  /** The page is odd and stays so: its writer is dead, stopped, or slow. Reads it as it was before the change. */
  #readBesideWriter(frame: number, memory: PageMemory, base: number, version: number): boolean {
    const owner = ownerOf(Atomics.load(this.frames.state, frame))
    if (owner !== 0 && this.participants.claimDead(slotOfToken(owner))) {
      this.reapDead(slotOfToken(owner))
      return false
    }
    const copy = this.#privateCopy()
    const { serial, state } = this.undo
    if (!this.undo.copyBeforeImage(frame, memory, base, version, copy.memory)) return false
    this.#handCopy(
      copy,
      () => Atomics.load(memory.i32, base >> 2) === version && this.undo.serial === serial && this.undo.state === state,
    )
    return copy.stands()
  }

  /** The page is being loaded by somebody who does not move. Reads its block past him. */
  #readBesideLoader(pageId: number, frame: number, state: number): boolean {
    const slot = slotOfToken(ownerOf(state))
    if (this.participants.claimDead(slot)) {
      this.reapDead(slot)
      return false
    }
    const block = Atomics.load(this.region.blockOf, pageId)
    if (block === 0) return false
    const copy = this.#privateCopy()
    const good = this.file.read(block, copy.memory.u8) && imageIsGood(copy.memory, pageId, this.pageSize)
    const stands = (): boolean =>
      Atomics.load(this.#frameOf, pageId) === frame + 1 &&
      Atomics.load(this.frames.state, frame) === state &&
      Atomics.load(this.region.blockOf, pageId) === block
    if (!stands()) return false
    if (!good) throw this.damaged(pageId, block)
    this.#handCopy(copy, stands)
    return true
  }

  /** For readers: into a frame, or past the pool when none is to be had without waiting. */
  #loadOrCopy(pageId: number): boolean {
    const frame = this.evictor.claimWithoutWaiting()
    return frame >= 0 ? this.#loadInto(pageId, frame) : this.#readBesidePool(pageId)
  }

  #readBesidePool(pageId: number): boolean {
    const block = Atomics.load(this.region.blockOf, pageId)
    const stands = (): boolean =>
      Atomics.load(this.#frameOf, pageId) === 0 && Atomics.load(this.region.blockOf, pageId) === block
    if (block === 0) {
      if (!stands()) return false
      throw new HyphaError('HYPHA_CORRUPT', `Page ${pageId} is referred to but was never written. Run \`hypha verify\``)
    }
    const copy = this.#privateCopy()
    for (let attempt = 0; attempt < READS_BEFORE_DAMAGE; attempt++) {
      this.reads++
      const good = this.file.read(block, copy.memory.u8) && imageIsGood(copy.memory, pageId, this.pageSize)
      if (!stands()) return false
      if (!good) continue // it may have moved away and back to this block under our eyes
      this.#handCopy(copy, stands)
      return true
    }
    throw this.damaged(pageId, block)
  }

  /** Brings a page from its block into a frame. False: somebody else did, or the map moved; look again. */
  load(pageId: number): boolean {
    return this.#loadInto(pageId, this.evictor.claim())
  }

  #loadInto(pageId: number, frame: number): boolean {
    this.frames.page[frame] = pageId
    if (Atomics.compareExchange(this.#frameOf, pageId, 0, frame + 1) !== 0) {
      this.evictor.release(frame)
      return false
    }
    try {
      faultPoint('pool.claimed')
      if (!this.#readInto(pageId, frame)) {
        this.#forget(pageId, frame)
        return false
      }
    } catch (error) {
      this.#forget(pageId, frame)
      throw error
    }
    faultPoint('pool.loaded')
    const memory = this.memoryOf(frame)
    const base = this.baseOf(frame)
    this.#ref[frame] = roundsOf(memory.u8[base + PAGE_KIND] as number) | 1
    const odd = memory.i32[base >> 2] as number
    if (!this.evictor.exchangeState(frame, owned(FRAME_CLAIMED, this.participants.token), FRAME_RESIDENT)) {
      // A committer who could not wait for us has put the page elsewhere.
      this.evictor.release(frame)
      return false
    }
    faultPoint('pool.resident')
    const version = this.#makeEven(memory, base, odd)
    if (version < 0) return false
    this.#hand(memory, base, version)
    return true
  }

  /**
   * A page becomes readable when its version turns even. Whoever finds it RESIDENT and still odd does that for a loader
   * that was stopped just here. -1 when the version has moved on.
   */
  #makeEven(memory: PageMemory, base: number, odd: number): number {
    const even = (odd + 1) | 0
    return Atomics.compareExchange(memory.i32, base >> 2, odd, even) === odd ? even : -1
  }

  #forget(pageId: number, frame: number): void {
    Atomics.compareExchange(this.#frameOf, pageId, frame + 1, 0)
    this.evictor.release(frame)
  }

  #readInto(pageId: number, frame: number): boolean {
    const block = Atomics.load(this.region.blockOf, pageId)
    if (block === 0) {
      throw new HyphaError('HYPHA_CORRUPT', `Page ${pageId} is referred to but was never written. Run \`hypha verify\``)
    }
    const scratch = this.#scratch
    this.reads++
    const good = this.file.read(block, scratch.u8) && imageIsGood(scratch, pageId, this.pageSize)
    if (!good) {
      // Not ours any more: a committer who could not wait has the page elsewhere, and since then it may have been written
      // to another block and to this one again, under our eyes.
      const state = Atomics.load(this.frames.state, frame)
      if (state !== owned(FRAME_CLAIMED, this.participants.token)) return false
      if (Atomics.load(this.region.blockOf, pageId) !== block) return false
      throw this.damaged(pageId, block)
    }
    // Past the version word, which is the frame's own.
    const memory = this.memoryOf(frame)
    const base = this.baseOf(frame)
    scratch.buffer.copy(memory.u8, base + 4, 4, this.pageSize)
    return true
  }

  damaged(pageId: number, block: number): HyphaError {
    const table = this.#scratch.i32[PAGE_TABLE >> 2] as number
    return new HyphaError(
      'HYPHA_CORRUPT',
      `Page ${pageId} (table ${table}) is damaged in ${this.file.file.path} at offset ${block * this.pageSize}. Run \`hypha verify\`, restore from a backup`,
    )
  }

  /**
   * Locks a page's frame against eviction and other changes, for the holder of the commit latch. Returns the frame. When
   * a loader does not move, the page is loaded into another frame and the loader's becomes an orphan.
   */
  lock(pageId: number): number {
    const { state, page } = this.frames
    const mine = owned(FRAME_LOCKED, this.participants.token)
    for (let round = 0; ; round++) {
      const frame = Atomics.load(this.#frameOf, pageId) - 1
      if (frame < 0) {
        this.load(pageId)
        continue
      }
      if (frame >= this.region.framesMapped) this.region.followFrames()
      const seen = Atomics.load(state, frame)
      const kind = kindOf(seen)
      if (kind === FRAME_RESIDENT || kind === FRAME_EVICTING) {
        if (Atomics.compareExchange(state, frame, seen, mine) !== seen) continue
        if (Atomics.load(this.#frameOf, pageId) === frame + 1 && page[frame] === pageId) {
          const memory = this.memoryOf(frame)
          const version = Atomics.load(memory.i32, this.baseOf(frame) >> 2)
          if ((version & 1) !== 0) this.#makeEven(memory, this.baseOf(frame), version)
          return frame
        }
        Atomics.store(state, frame, FRAME_RESIDENT)
      } else if (kind === FRAME_LOCKED) {
        throw new HyphaError('HYPHA_ASSERTION', 'Broken invariant: a page locked by somebody other than the committer')
      } else if (kind === FRAME_CLAIMED) {
        if (round > PATIENCE_LOADING) this.#loadElsewhere(pageId, frame, seen)
      } else {
        Atomics.compareExchange(this.#frameOf, pageId, frame + 1, 0)
      }
    }
  }

  #loadElsewhere(pageId: number, frame: number, seen: number): void {
    const slot = slotOfToken(ownerOf(seen))
    if (this.participants.claimDead(slot)) {
      this.reapDead(slot)
      return
    }
    const orphan = owned(FRAME_ORPHAN, ownerOf(seen))
    if (!this.evictor.exchangeState(frame, seen, orphan)) return
    Atomics.compareExchange(this.#frameOf, pageId, frame + 1, 0)
    this.load(pageId)
  }
}
