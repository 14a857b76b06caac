/**
 * Checkpoints: a consistent state of all pages on disk, from which recovery replays the log.
 *
 * ```
 *   (none) ──begin: commit latch, EPOCH + 1──► FLUSHING ──► map ──► sync, log too ──► superblock ──► sync ──► log record durable
 *      ▲                                                                                                              │
 *      └───────────────────── complete: allocator latch, DURABLE + 1 ◄────────────────────────────────────────────────┘
 * ```
 * Thread safety: one at a time (checkpoint latch). Whoever takes the latch over from a dead one goes on where it stood:
 * everything is in shared memory, and each step may be repeated.
 * Invariants
 * 1. Pages changed in epoch e and not flushed are either dirty with epoch e, or kept in a SHADOW frame.
 * 2. Blocks and log segments of the checkpoint before are given up only after the log says durably that this one is
 *    complete.
 * 3. A superblock is written only when the log is durable up to its position: what a checkpoint holds is in the log too,
 *    for those who read it there (fragments of transactions that were open, followers, backups).
 */
import { HyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { type LogRing, POISON_SYNC_FAILED } from '../log/ring.js'
import type { Latch } from '../memory/latch.js'
import * as L from '../memory/layout.js'
import { type Participants, SLOT_FRAGMENT_F, slotWord } from '../memory/participants.js'
import type { Region } from '../memory/region.js'
import type { Allocator } from './allocator.js'
import type { BlockFile } from './block-file.js'
import type { Evictor } from './evictor.js'
import { FRAME_SHADOW, type Frames, kindOf } from './frames.js'
import { PageMap } from './page-map.js'
import { writeSuperblock } from './superblock.js'

/** What the checkpoint needs of the log and of commits, which stand above this folder. */
export interface CheckpointLog {
  readonly ring: LogRing
  /** Commit latch held: finishes a commit that its owner could not apply and left standing. */
  settle(): void
  /** Makes durable all that is committed. */
  sync(): void
  /** Appends the completion record (takes the commit latch) and makes it durable. */
  recordCheckpoint(epoch: number, position: number): void
}

const STUCK_MS = 30_000

export class Checkpointer {
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly map: PageMap

  constructor(
    readonly region: Region,
    readonly frames: Frames,
    readonly evictor: Evictor,
    readonly allocator: Allocator,
    readonly file: BlockFile,
    readonly commitLatch: Latch,
    readonly latch: Latch,
    readonly participants: Participants,
    readonly log: CheckpointLog,
    readonly busyTimeoutMs: number,
    readonly idle: () => void,
  ) {
    this.#i32 = region.control.i32
    this.#f64 = region.control.f64
    this.map = new PageMap(region, allocator, file)
  }

  get inProgress(): boolean {
    return this.allocator.checkpointInProgress
  }

  /**
   * Runs one checkpoint, or finishes the one in progress and runs no other. Yields between short sections; the caller
   * holds the checkpoint latch all along.
   */
  *run(): Generator<void, number> {
    if (!this.inProgress) this.#begin()
    const epoch = (this.#i32[L.EPOCH_I] as number) - 1
    faultPoint('checkpoint.begun')
    this.allocator.sweepFreed(true)
    yield* this.#flushAll(epoch)
    yield* this.#flushShadows(epoch)
    faultPoint('checkpoint.flushed')
    const directory = yield* this.map.write(epoch)
    faultPoint('checkpoint.mapped')
    this.#sync()
    yield
    this.log.sync()
    faultPoint('checkpoint.log-synced')
    yield
    this.#switchSuperblock(epoch, directory)
    yield
    this.log.recordCheckpoint(epoch, this.#f64[L.CHECKPOINT_POSITION_F] as number)
    faultPoint('checkpoint.recorded')
    this.allocator.exclusively(() => this.allocator.completeCheckpoint(epoch))
    this.#f64[L.CHECKPOINT_DURABLE_REDO_F] = this.#f64[L.CHECKPOINT_REDO_F] as number
    this.#f64[L.CHECKPOINTS_DONE_F] = (this.#f64[L.CHECKPOINTS_DONE_F] as number) + 1
    faultPoint('checkpoint.done')
    this.allocator.sweepFreed()
    return epoch
  }

  /** The only step that holds up commits: a few stores. */
  #begin(): void {
    this.allocator.sweepFreed()
    this.commitLatch.acquire(this.busyTimeoutMs)
    try {
      this.log.settle()
      const position = this.log.ring.tail
      this.#f64[L.CHECKPOINT_POSITION_F] = position
      this.#f64[L.CHECKPOINT_REDO_F] = this.#oldestFragment(position)
      this.#f64[L.CHECKPOINT_SEQUENCE_F] = this.#f64[L.VISIBLE_F] as number
      faultPoint('checkpoint.begin')
      Atomics.add(this.#i32, L.EPOCH_I, 1)
    } finally {
      this.commitLatch.release()
    }
  }

  #oldestFragment(position: number): number {
    let oldest = position
    for (const slot of this.participants.active()) {
      const first = this.#f64[(slotWord(slot) >> 1) + SLOT_FRAGMENT_F] as number
      if (first > 0 && first < oldest) oldest = first
    }
    return oldest
  }

  *#flushAll(epoch: number): Generator<void> {
    const { dirty, epoch: epochs } = this.frames
    yield* this.#eachFrame(frame => (dirty[frame] as number) === 0 || (epochs[frame] as number) > epoch)
  }

  *#flushShadows(_epoch: number): Generator<void> {
    const { state } = this.frames
    yield* this.#eachFrame(frame => kindOf(Atomics.load(state, frame)) !== FRAME_SHADOW)
  }

  /** Flushes every frame that is not `done` yet, and waits for those that others are flushing or changing. */
  *#eachFrame(done: (frame: number) => boolean): Generator<void> {
    const ready = Atomics.load(this.#i32, L.FRAMES_READY_I)
    let section = 0
    for (let frame = 0; frame < ready; frame++) {
      let deadline = 0
      while (!done(frame)) {
        if (this.evictor.flush(frame)) break
        this.idle()
        if (deadline === 0) deadline = performance.now() + STUCK_MS
        else if (performance.now() > deadline) {
          throw new HyphaError(
            'HYPHA_BUSY',
            `The checkpoint cannot write page ${this.frames.page[frame]}: a process in the middle of changing it does not move. Continue or end it`,
          )
        }
        yield
      }
      if (++section % 16 === 0) yield
    }
  }

  #sync(): void {
    try {
      this.file.change(file => file.sync())
    } catch (error) {
      // The kernel may have dropped what it could not write, and says so once only.
      this.log.ring.setPoison(POISON_SYNC_FAILED)
      throw error
    }
  }

  #switchSuperblock(epoch: number, directory: number[]): void {
    const { control } = this.region
    const superblock = {
      databaseId: this.region.identity().databaseId,
      pageSize: this.region.geometry.pageSize,
      epoch,
      position: this.#f64[L.CHECKPOINT_POSITION_F] as number,
      redo: this.#f64[L.CHECKPOINT_REDO_F] as number,
      sequence: this.#f64[L.CHECKPOINT_SEQUENCE_F] as number,
      clock: this.#f64[L.CLOCK_F] as number,
      pageLimit: control.i32[L.PAGE_LIMIT_I] as number,
      blockLimit: control.i32[L.BLOCK_LIMIT_I] as number,
      segmentBytes: control.f64[L.HEADER_SEGMENT_BYTES_F] as number,
      directory,
    }
    faultPoint('checkpoint.superblock')
    try {
      this.file.change(file => writeSuperblock(file, superblock))
    } catch (error) {
      this.log.ring.setPoison(POISON_SYNC_FAILED)
      throw error
    }
    faultPoint('checkpoint.superblock-written')
    this.#sync()
    faultPoint('checkpoint.superblock-synced')
  }
}
