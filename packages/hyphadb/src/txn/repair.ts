/**
 * What is done for a participant that died: its latches are freed, its commit is finished or forgotten, its snapshots,
 * frames, page ids and blocks are given back. The others carry on with all that they hold.
 *
 * Thread safety: the caller holds the dead one's byte in `attach`, so one at a time for each dead participant. May be
 * called with the commit latch held (then the dead one did not hold it), never with the allocator latch held. Dying here
 * leaves a state that the next one repairs in the same way.
 */

import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { RECORD_BAD, RecordHeader } from '../log/record.js'
import { RegionReplaced } from '../memory/generation.js'
import type { Latch } from '../memory/latch.js'
import * as L from '../memory/layout.js'
import type { Participants } from '../memory/participants.js'
import type { Region } from '../memory/region.js'
import type { Snapshots } from '../memory/snapshots.js'
import type { Allocator } from '../pages/allocator.js'
import type { Evictor } from '../pages/evictor.js'
import {
  FRAME_CLAIMED,
  FRAME_EVICTING,
  FRAME_LOCKED,
  FRAME_ORPHAN,
  FRAME_RESIDENT,
  type Frames,
  kindOf,
  owned,
  ownerOf,
} from '../pages/frames.js'
import type { PageChanges } from '../pages/page-changes.js'
import type { BufferPool } from '../pages/pool.js'
import type { Committer, Operation } from './committer.js'
import { OperationGatherer, redo } from './redo.js'

export interface RepairParts {
  region: Region
  participants: Participants
  frames: Frames
  pool: BufferPool
  evictor: Evictor
  allocator: Allocator
  changes: PageChanges
  snapshots: Snapshots
  committer: Committer
  latches: { commit: Latch; allocator: Latch; checkpoint: Latch; logWrite: Latch; logAllocation: Latch }
  /** Operations of a transaction's fragments in [first, end), read from the log's files. */
  readFragments: (first: number, transactionId: number, end: number) => OperationGatherer
  /** The region is beyond repair. */
  giveUp: () => void
}

export class Repairer {
  readonly #i32: Int32Array
  readonly #f64: Float64Array

  constructor(readonly parts: RepairParts) {
    this.#i32 = parts.region.control.i32
    this.#f64 = parts.region.control.f64
  }

  /** Repairs what the participant in this slot left, and frees the slot. */
  reap(slot: number): void {
    try {
      this.#reap(slot)
    } catch (error) {
      this.parts.participants.letGo(slot)
      throw this.#beyondRepair(error)
    }
  }

  /**
   * Damage and failing disks would meet a new region as well: they are told. Anything else that repair throws is a broken
   * invariant of the shared memory: the log is right, and the next region is built from it.
   */
  #beyondRepair(error: unknown): unknown {
    if (isHyphaError(error) && error.code !== 'HYPHA_ASSERTION') return error
    this.parts.giveUp()
    return new RegionReplaced()
  }

  #reap(slot: number): void {
    const { participants, latches, allocator, snapshots, evictor } = this.parts
    const token = participants.tokenOfSlot(slot)
    faultPoint('repair.begin')
    this.parts.region.followDirectory()
    this.parts.region.followFrames()
    if (latches.allocator.takeFrom(token)) {
      allocator.repair()
      latches.allocator.release()
    }
    if (latches.commit.takeFrom(token)) {
      try {
        this.repairCommit()
      } finally {
        latches.commit.release()
      }
    }
    for (const latch of [latches.checkpoint, latches.logWrite, latches.logAllocation]) {
      if (latch.takeFrom(token)) latch.release()
    }
    // Others need not wait until its lease runs out.
    Atomics.compareExchange(this.#i32, L.RESERVATION_OWNER_I, token, 0)
    faultPoint('repair.latches')
    snapshots.reap(token)
    this.#reapFrames(token)
    allocator.reap(slot, page => evictor.discard(page))
    this.#f64[L.REPAIRS_F] = (this.#f64[L.REPAIRS_F] as number) + 1
    faultPoint('repair.end')
    participants.released(slot)
  }

  /** For a thread whose own commit threw. It holds the commit latch. */
  repairOwn(): void {
    try {
      this.parts.changes.settle()
      this.parts.evictor.releaseClaimed()
      this.repairCommit()
    } catch (error) {
      throw this.#beyondRepair(error)
    }
  }

  /** Makes the state between commits out of whatever a commit's owner left. Commit latch held by us. */
  repairCommit(): void {
    this.parts.changes.settle()
    faultPoint('repair.undone')
    const state = this.#i32[L.COMMIT_STATE_I] as number
    if (state === L.COMMIT_APPLYING && this.parts.committer.parts.ring.tail >= (this.#f64[L.COMMIT_END_F] as number)) {
      this.#rollForward()
    }
    this.parts.committer.parts.ring.setKeepFrom(Number.POSITIVE_INFINITY)
    Atomics.store(this.#i32, L.COMMIT_STATE_I, L.COMMIT_IDLE)
  }

  #rollForward(): void {
    const { committer } = this.parts
    const sequence = this.#f64[L.COMMIT_SEQUENCE_F] as number
    if (committer.visible >= sequence) return
    const catalogChanged = redo(committer, this.#operations(), sequence)
    committer.parts.versions.ownReplacedBy(sequence)
    faultPoint('repair.redone')
    committer.publish(sequence, this.#f64[L.COMMIT_END_F] as number, catalogChanged)
  }

  #operations(): Operation[] {
    const { ring } = this.parts.committer.parts
    const header = new RecordHeader()
    const start = this.#f64[L.COMMIT_START_F] as number
    if (ring.readRecord(start, header) === RECORD_BAD) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `The commit record at position ${start} of the log ring is damaged. Close the database everywhere and open it again`,
      )
    }
    const body = Buffer.from(ring.viewBytes.subarray(header.bodyStart, header.bodyEnd))
    const gatherer =
      header.fragmentCount > 0
        ? this.parts.readFragments(header.firstFragment, header.transactionId, start)
        : new OperationGatherer()
    gatherer.add(body, 0, body.length)
    return gatherer.operations
  }

  #reapFrames(token: number): void {
    const { frames, pool, evictor, region } = this.parts
    const ready = Atomics.load(this.#i32, L.FRAMES_READY_I)
    for (let frame = 0; frame < ready; frame++) {
      if ((frames.flush[frame] as number) === token) Atomics.store(frames.flush, frame, 0)
      const state = frames.state[frame] as number
      if (ownerOf(state) !== token) continue
      const kind = kindOf(state)
      if (kind === FRAME_CLAIMED || kind === FRAME_ORPHAN) {
        const page = frames.page[frame] as number
        const word = pool.baseOf(frame) >> 2
        const { i32 } = pool.memoryOf(frame)
        Atomics.add(i32, word, ((i32[word] as number) & 1) === 0 ? 1 : 2)
        if (page > 0) Atomics.compareExchange(region.frameOf, page, frame + 1, 0)
        evictor.release(frame)
      } else if (kind === FRAME_EVICTING) {
        evictor.exchangeState(frame, state, FRAME_RESIDENT)
      } else if (kind === FRAME_LOCKED && state === owned(FRAME_LOCKED, token)) {
        evictor.exchangeState(frame, state, FRAME_RESIDENT)
      }
    }
  }
}
