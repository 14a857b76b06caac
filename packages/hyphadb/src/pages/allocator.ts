/**
 * Page ids and blocks: who has which, and which block holds a page's newest image.
 *
 * Block states, by the parity of the epoch that made the transition:
 * ```
 *          allocate(epoch)            checkpoint of that epoch completes
 *   FREE ─────────────────► FRESH(p) ────────────────────────────────► STABLE
 *    ▲  ◄───────────────────── │ replaced within its epoch               │ replaced: still named by the checkpoint on disk
 *    │                                                                   ▼
 *    └──────────────────────────────────────────────────────────────── DOOMED(p)
 *        checkpoint of the epoch that replaced it completes
 * ```
 *
 * Thread safety: every change is made by the holder of the allocator latch. A map update writes its intent first; the
 * repairer of a dead owner repeats it (all its assignments are absolute).
 * Invariants
 * 1. A block is FREE only if no durable checkpoint, no checkpoint in progress, no entry of blockOf and no participant's
 *    in-flight list names it.
 * 2. A participant lists a block in its slot before the block's state leaves FREE, and drops it from there after the map
 *    names it or its state is FREE again, all within one hold of the latch. Outside of it a listed block is its owner's.
 * 3. blockOf changes only to a block whose bytes have been written, and only while the frame that they came from still
 *    has the version that was copied: a page freed and reused meanwhile never gets a stale block.
 */
import { assert } from '../base/assert.js'
import { HyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import type { ControlMemory } from '../memory/control-memory.js'
import type { Latch } from '../memory/latch.js'
import * as L from '../memory/layout.js'
import {
  IN_FLIGHT_MAX,
  type Participants,
  SLOT_IN_FLIGHT,
  SLOT_IN_FLIGHT_FIRST,
  slotWord,
} from '../memory/participants.js'
import type { Region } from '../memory/region.js'
import type { BlockFile } from './block-file.js'
import { inCheckpoint, PAGE_DROPPED, PAGE_FREE, PAGE_FREED, PAGE_FRESH, PAGE_RESERVED, PAGE_USED } from './directory.js'
import type { SideTable } from './side-table.js'

export const BLOCK_FREE = 0
export const BLOCK_FRESH = 1 // + parity
export const BLOCK_STABLE = 3
export const BLOCK_DOOMED = 4 // + parity

/** Blocks that only checkpoints and deletes may use, so that a full disk can be emptied. */
export const BLOCK_RESERVE = 64
const EXTEND_BYTES_MIN = 1 << 20
const EXTEND_BYTES_MAX = 32 << 20

export class Allocator {
  readonly #i32: Int32Array

  constructor(
    readonly control: ControlMemory,
    readonly directory: Region,
    readonly side: SideTable,
    readonly latch: Latch,
    readonly participants: Participants,
    readonly file: BlockFile,
    readonly busyTimeoutMs: number,
  ) {
    this.#i32 = control.i32
  }

  get freeBlocks(): number {
    return this.#i32[L.BLOCKS_FREE_I] as number
  }

  get checkpointInProgress(): boolean {
    return (this.#i32[L.EPOCH_I] as number) - (this.#i32[L.CHECKPOINT_DURABLE_I] as number) === 2
  }

  /**
   * The epoch that an image counts for: of the checkpoint in progress if it belongs to it or is older (provisional pages
   * may be), else the open one. Under the latch.
   */
  #effectiveEpoch(epoch: number): number {
    const open = this.#i32[L.EPOCH_I] as number
    return this.checkpointInProgress && epoch < open ? open - 1 : open
  }

  /** Runs `work` under the latch. Short sections only. */
  exclusively<T>(work: () => T): T {
    this.latch.acquire(this.busyTimeoutMs)
    try {
      this.directory.followDirectory()
      return work()
    } catch (error) {
      this.#settle()
      throw error
    } finally {
      this.latch.release()
    }
  }

  // Page ids

  /** Reserves a page id for this participant. */
  reservePage(): number {
    return this.exclusively(() => {
      const { pageState } = this.directory
      const limit = this.#i32[L.PAGE_LIMIT_I] as number
      const hint = Math.max(1, this.#i32[L.PAGE_HINT_I] as number)
      let page = pageState.indexOf(PAGE_FREE, hint)
      if (page < 0 || page >= limit) page = limit
      if (page >= (this.#i32[L.PAGES_READY_I] as number)) this.#growDirectory(page + 1, 0)
      pageState[page] = PAGE_RESERVED + this.participants.slot
      if (page >= limit) this.#i32[L.PAGE_LIMIT_I] = page + 1
      this.#i32[L.PAGE_HINT_I] = page + 1
      return page
    })
  }

  /** Gives back a reserved page id that no page refers to. Its block, if it was ever flushed, is released. */
  unreservePage(page: number): void {
    this.exclusively(() => this.#dropPage(page, this.#i32[L.EPOCH_I] as number))
  }

  /**
   * Frees the ids and blocks of pages that left their trees. While a checkpoint is in progress the pages freed since it
   * began wait: it still contains them, but for those that were born since.
   */
  sweepFreed(evenIfNone = false): number {
    // The count is a hint: a death may leave it too low, so a checkpoint looks for itself.
    if (!evenIfNone && (this.#i32[L.FREED_COUNT_I] as number) === 0) return 0
    return this.exclusively(() => {
      const epoch = this.#i32[L.EPOCH_I] as number
      const keep = this.checkpointInProgress ? PAGE_FREED + (epoch & 1) : -1
      let freed = 0
      for (const state of [PAGE_FREED, PAGE_FREED + 1, PAGE_DROPPED]) {
        if (state === keep) continue
        const of = this.checkpointInProgress && state !== PAGE_DROPPED ? epoch - 1 : epoch
        this.#eachPageIn(state, page => {
          this.#dropPage(page, of)
          freed++
        })
      }
      Atomics.sub(this.#i32, L.FREED_COUNT_I, Math.min(freed, this.#i32[L.FREED_COUNT_I] as number))
      return freed
    })
  }

  /** Pages in a state, found by a native search that ends at the page limit (behind it lies mere address space). */
  #eachPageIn(state: number, visit: (page: number) => void): void {
    const pages = this.directory.pageState.subarray(0, this.#i32[L.PAGE_LIMIT_I] as number)
    for (let page = pages.indexOf(state); page >= 0; page = pages.indexOf(state, page + 1)) visit(page)
  }

  #dropPage(page: number, epoch: number): void {
    this.#update(page, 0, epoch, PAGE_FREE)
    if (page < (this.#i32[L.PAGE_HINT_I] as number)) this.#i32[L.PAGE_HINT_I] = page
  }

  #growDirectory(pages: number, blocks: number): void {
    this.directory.growDirectory(pages, blocks)
  }

  // Blocks

  /**
   * A block for the next image of `page` (a map page: minus its number); listed in flight until `mapPage` or `releaseInFlight`.
   * Extends the data file when none is free: HYPHA_DISK_FULL.
   */
  allocateBlock(page: number): number {
    return this.exclusively(() => {
      const block = this.#findFreeBlock()
      const word = slotWord(this.participants.slot)
      const count = this.#i32[word + SLOT_IN_FLIGHT] as number
      assert(count < IN_FLIGHT_MAX, 'a participant has few blocks in flight')
      this.#i32[word + SLOT_IN_FLIGHT_FIRST + count * 2] = page
      this.#i32[word + SLOT_IN_FLIGHT_FIRST + count * 2 + 1] = block
      Atomics.store(this.#i32, word + SLOT_IN_FLIGHT, count + 1)
      faultPoint('allocator.listed')
      this.directory.blockState[block] = BLOCK_FRESH + ((this.#i32[L.EPOCH_I] as number) & 1)
      this.#i32[L.BLOCKS_FREE_I] = this.freeBlocks - 1
      return block
    })
  }

  #findFreeBlock(): number {
    const { blockState } = this.directory
    const limit = this.#i32[L.BLOCK_LIMIT_I] as number
    const hint = this.#i32[L.BLOCK_HINT_I] as number
    let block = blockState.indexOf(BLOCK_FREE, hint)
    if (block < 0 || block >= limit) {
      block = hint > this.file.firstBlock ? blockState.indexOf(BLOCK_FREE, this.file.firstBlock) : -1
      if (block < 0 || block >= limit) {
        block = limit
        this.#extend(1)
      }
    }
    this.#i32[L.BLOCK_HINT_I] = block + 1
    return block
  }

  /** Makes sure that `blocks` are free beyond those that dirty pages may need. Called before a commit's point of no return. */
  ensureFree(blocks: number): void {
    if (this.freeBlocks >= blocks) return
    this.exclusively(() => {
      const missing = blocks - this.freeBlocks
      if (missing > 0) this.#extend(missing)
    })
  }

  #extend(blocks: number): void {
    const limit = this.#i32[L.BLOCK_LIMIT_I] as number
    const { blockBytes } = this.file
    const step = Math.min(EXTEND_BYTES_MAX, Math.max(EXTEND_BYTES_MIN, (limit * blockBytes) >> 3))
    const wanted = Math.max(blocks, Math.ceil(step / blockBytes))
    let next = limit + wanted
    try {
      this.#growDirectory(0, next)
      this.file.extend(next)
    } catch (error) {
      if (wanted === blocks || !(error instanceof HyphaError)) throw error
      next = limit + blocks
      this.#growDirectory(0, next)
      this.file.extend(next)
    }
    faultPoint('allocator.extended')
    this.#i32[L.BLOCKS_FREE_I] = this.freeBlocks + (next - limit)
    Atomics.store(this.#i32, L.BLOCK_LIMIT_I, next)
  }

  /** A block in flight that will not be used after all; one that is not in flight any more is left alone. */
  releaseInFlight(page: number, block: number): void {
    this.exclusively(() => {
      if (this.#listed(page, block) < 0) return
      this.#setBlockFree(block)
      this.#unlist(page, block)
    })
  }

  /**
   * Makes `block` the newest image of `page` if `stillValid` (evaluated under the latch) says that the copied version
   * stands; otherwise frees it. Returns whether the map was changed.
   */
  mapPage(page: number, block: number, epoch: number, stillValid: () => boolean): boolean {
    return this.exclusively(() => {
      const effective = this.#effectiveEpoch(epoch)
      const good = stillValid()
      if (good) {
        this.directory.blockState[block] = BLOCK_FRESH + (effective & 1)
        this.#update(page, block, effective, -1)
      } else this.#setBlockFree(block)
      this.#unlist(page, block)
      return good
    })
  }

  /** An image for the next checkpoint replaces one that the checkpoint in progress contains and has not lost before. */
  #needsSide(page: number, epoch: number): boolean {
    const open = this.#i32[L.EPOCH_I] as number
    if (!this.checkpointInProgress || epoch < open || this.side.get(page) >= 0) return false
    return inCheckpoint(this.directory.pageState[page] as number, open - 1)
  }

  /** Position of a block in flight in our slot's list, -1 when it is not there. */
  #listed(page: number, block: number): number {
    const word = slotWord(this.participants.slot)
    const count = this.#i32[word + SLOT_IN_FLIGHT] as number
    const first = word + SLOT_IN_FLIGHT_FIRST
    for (let i = 0; i < count; i++) {
      if (this.#i32[first + i * 2] === page && this.#i32[first + i * 2 + 1] === block) return i
    }
    return -1
  }

  #unlist(page: number, block: number): void {
    const at = this.#listed(page, block)
    assert(at >= 0, 'a block in flight is listed')
    this.#drop(slotWord(this.participants.slot), at)
  }

  /** Takes an entry out of a slot's list: the last one moves to its place. */
  #drop(word: number, at: number): void {
    const count = this.#i32[word + SLOT_IN_FLIGHT] as number
    const first = word + SLOT_IN_FLIGHT_FIRST
    this.#i32[first + at * 2] = this.#i32[first + (count - 1) * 2] as number
    this.#i32[first + at * 2 + 1] = this.#i32[first + (count - 1) * 2 + 1] as number
    Atomics.store(this.#i32, word + SLOT_IN_FLIGHT, count - 1)
  }

  #setBlockFree(block: number): void {
    if ((this.directory.blockState[block] as number) === BLOCK_FREE) return
    this.directory.blockState[block] = BLOCK_FREE
    this.#i32[L.BLOCKS_FREE_I] = this.freeBlocks + 1
    if (block < (this.#i32[L.BLOCK_HINT_I] as number)) this.#i32[L.BLOCK_HINT_I] = block
  }

  /** Map update: page -> block (0 = none) as of an epoch; writes its intent, then does it. */
  #update(page: number, block: number, epoch: number, pageState: number): void {
    const i32 = this.#i32
    const { blockOf } = this.directory
    const inProgress = this.checkpointInProgress
    const open = i32[L.EPOCH_I] as number
    const inSide = inProgress ? this.side.get(page) : -1
    let old = blockOf[page] as number
    let side = 0 // 1: the old block moves to the side table; 2: the side table's block is replaced
    if (inProgress && epoch < open && inSide >= 0) {
      side = 2
      old = inSide
    } else if (this.#needsSide(page, epoch)) side = 1
    i32[L.INTENT_PAGE_I] = page
    i32[L.INTENT_BLOCK_I] = block
    i32[L.INTENT_OLD_I] = old
    i32[L.INTENT_SIDE_I] = side
    i32[L.INTENT_OLD_STATE_I] = side === 1 || old === 0 ? -1 : this.#stateAfterReplacing(old, epoch)
    i32[L.INTENT_PAGE_STATE_I] = pageState
    Atomics.store(i32, L.INTENT_STATE_I, 1)
    faultPoint('allocator.intent')
    this.repairIntent()
  }

  #stateAfterReplacing(block: number, epoch: number): number {
    const state = this.directory.blockState[block] as number
    if (state === BLOCK_STABLE) return BLOCK_DOOMED + (epoch & 1)
    assert(state === BLOCK_FRESH || state === BLOCK_FRESH + 1, 'a mapped block is fresh or stable')
    return BLOCK_FREE
  }

  /** Carries out the intent that stands. Called by its writer, and by the repairer of a dead writer. */
  repairIntent(): void {
    const i32 = this.#i32
    if ((i32[L.INTENT_STATE_I] as number) === 0) return
    const page = i32[L.INTENT_PAGE_I] as number
    const block = i32[L.INTENT_BLOCK_I] as number
    const old = i32[L.INTENT_OLD_I] as number
    const side = i32[L.INTENT_SIDE_I] as number
    const oldState = i32[L.INTENT_OLD_STATE_I] as number
    const pageState = i32[L.INTENT_PAGE_STATE_I] as number
    if (side === 1) this.side.set(page, old)
    if (side === 2) this.side.set(page, block)
    else Atomics.store(this.directory.blockOf, page, block)
    faultPoint('allocator.half')
    if (oldState === BLOCK_FREE) this.#setBlockFree(old)
    else if (oldState > 0) this.directory.blockState[old] = oldState
    if (pageState >= 0) this.directory.pageState[page] = pageState
    Atomics.store(i32, L.INTENT_STATE_I, 0)
  }

  // Map pages: chunk n is page -1 - n, directory page n is page -1 - chunksMax - n.

  #mapWord(page: number): number {
    const { geometry } = this.directory
    const n = -1 - page
    return n < geometry.chunksMax
      ? (geometry.chunkOffset >> 2) + n * 2
      : (geometry.mapDirectoryOffset >> 2) + (n - geometry.chunksMax) * 2
  }

  mapPageBlock(page: number): number {
    return this.#i32[this.#mapWord(page)] as number
  }

  mapPageChecksum(page: number): number {
    return this.#i32[this.#mapWord(page) + 1] as number
  }

  /**
   * The checkpoint in progress has written a map page to `block`. Repeating it after a death in it is safe: the old block
   * is given up only when nothing names it, and until the checksum stands nobody takes the page for unchanged.
   */
  placeMapPage(page: number, block: number, checksum: number, epoch: number): void {
    this.exclusively(() => {
      const word = this.#mapWord(page)
      const old = this.#i32[word] as number
      this.directory.blockState[block] = BLOCK_FRESH + (epoch & 1)
      Atomics.store(this.#i32, word + 1, 0)
      Atomics.store(this.#i32, word, block)
      faultPoint('allocator.map-placed')
      if (old !== 0) {
        const state = this.directory.blockState[old] as number
        if (state === BLOCK_STABLE) this.directory.blockState[old] = BLOCK_DOOMED + (epoch & 1)
        else if (state === BLOCK_FRESH + (epoch & 1)) this.#setBlockFree(old)
      }
      Atomics.store(this.#i32, word + 1, checksum)
      this.#unlist(page, block)
    })
  }

  /** For the builder of a region: a map page as the superblock names it. */
  loadMapPage(page: number, block: number, checksum: number): void {
    const word = this.#mapWord(page)
    this.#i32[word] = block
    this.#i32[word + 1] = checksum
  }

  // Checkpoint and death

  /** Checkpoint `epoch` is durable: its fresh blocks are stable, what it replaced is free. Repeatable. */
  completeCheckpoint(epoch: number): void {
    Atomics.store(this.#i32, L.CHECKPOINT_COMPLETING_I, epoch)
    const parity = epoch & 1
    const { blockState } = this.directory
    const limit = this.#i32[L.BLOCK_LIMIT_I] as number
    let free = 0
    for (let block = this.file.firstBlock; block < limit; block++) {
      const state = blockState[block] as number
      if (state === BLOCK_FRESH + parity) blockState[block] = BLOCK_STABLE
      else if (state === BLOCK_DOOMED + parity) blockState[block] = BLOCK_FREE
      if ((blockState[block] as number) === BLOCK_FREE) free++
    }
    this.side.forEach((_page, block) => {
      if (block > 0) blockState[block] = BLOCK_DOOMED + (parity ^ 1)
    })
    faultPoint('checkpoint.completing')
    Atomics.store(this.#i32, L.CHECKPOINT_DURABLE_I, epoch)
    this.side.clear()
    this.#i32[L.BLOCKS_FREE_I] = free
    this.#i32[L.BLOCK_HINT_I] = this.file.firstBlock
    this.#eachPageIn(PAGE_FRESH + parity, page => {
      this.directory.pageState[page] = PAGE_USED
    })
    Atomics.store(this.#i32, L.CHECKPOINT_COMPLETING_I, 0)
  }

  /**
   * For the reaper: reserved page ids and blocks in flight of a dead participant. Not under the latch. `discard` drops a
   * page from memory: an id is given away only when no frame holds it.
   */
  reap(slot: number, discard: (page: number) => void): void {
    this.exclusively(() => {
      const word = slotWord(slot)
      const count = Math.min(IN_FLIGHT_MAX, this.#i32[word + SLOT_IN_FLIGHT] as number)
      for (let i = 0; i < count; i++) {
        const page = this.#i32[word + SLOT_IN_FLIGHT_FIRST + i * 2] as number
        const block = this.#i32[word + SLOT_IN_FLIGHT_FIRST + i * 2 + 1] as number
        if (!this.#isMapped(page, block)) this.#setBlockFree(block)
      }
      this.#i32[word + SLOT_IN_FLIGHT] = 0
      const epoch = this.#i32[L.EPOCH_I] as number
      this.#eachPageIn(PAGE_RESERVED + slot, page => {
        discard(page)
        this.#dropPage(page, epoch)
      })
    })
  }

  /** For the repairer of the latch's dead owner, who has taken the latch over. */
  repair(): void {
    this.#settle()
    const completing = this.#i32[L.CHECKPOINT_COMPLETING_I] as number
    if (completing !== 0) this.completeCheckpoint(completing)
    this.#recountFree()
  }

  /**
   * Finishes what the holder of the latch began. Entries of the lists that name a block which is mapped or free are his
   * too, whosever they were when he died in his turn: they go before anybody else can be given these blocks. All others
   * name blocks that nobody but their owner, or his reaper, may touch.
   */
  #settle(): void {
    this.repairIntent()
    for (const slot of this.participants.active()) {
      const word = slotWord(slot)
      for (let at = Math.min(IN_FLIGHT_MAX, this.#i32[word + SLOT_IN_FLIGHT] as number) - 1; at >= 0; at--) {
        const page = this.#i32[word + SLOT_IN_FLIGHT_FIRST + at * 2] as number
        const block = this.#i32[word + SLOT_IN_FLIGHT_FIRST + at * 2 + 1] as number
        const isFree = (this.directory.blockState[block] as number) === BLOCK_FREE
        if (isFree || this.#isMapped(page, block)) this.#drop(word, at)
      }
    }
  }

  #isMapped(page: number, block: number): boolean {
    if (page < 0) return this.mapPageBlock(page) === block
    return (this.directory.blockOf[page] as number) === block || this.side.get(page) === block
  }

  #recountFree(): void {
    const limit = this.#i32[L.BLOCK_LIMIT_I] as number
    let free = 0
    for (let block = this.file.firstBlock; block < limit; block++) {
      if ((this.directory.blockState[block] as number) === BLOCK_FREE) free++
    }
    this.#i32[L.BLOCKS_FREE_I] = free
  }
}
