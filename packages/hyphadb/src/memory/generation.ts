/**
 * Generations: a region that cannot go on (a broken invariant that repair could not mend, a name that vanished from
 * /dev/shm) is replaced by a new one, built from log and data file, while the processes live.
 *
 * Thread safety: any thread.
 * Invariants
 * 1. Whoever writes to a file of the database counts itself in its slot first and then looks at the region's state; the
 *    builder stores DEAD first and then looks at the counts. One of the two sees the other, so nothing is written for a
 *    dead region after its builder has begun, also not by a process that was stopped for an hour.
 * 2. A commit is acknowledged only after its thread has looked at the state behind the commit point, or when its end lies
 *    within what the next generation found in the log.
 */
import { HyphaError } from '../base/errors.js'
import type { ControlMemory } from './control-memory.js'
import { HEADER_STATE_I, STATE_DEAD } from './layout.js'
import { type Participants, SLOT_WRITES, slotWord } from './participants.js'

/** The region that this was begun in has been given up. */
export class RegionReplaced extends HyphaError {
  /** @param committedEnd end of the record of a commit that had passed its commit point in the old region; 0: none */
  constructor(readonly committedEnd = 0) {
    super(
      'HYPHA_SNAPSHOT_TOO_OLD',
      'The shared region was replaced after a fault, and what was read in the old one no longer stands. Read again from a new snapshot',
    )
  }
}

/** Stands before every change of a file. */
export class FileGate {
  readonly #i32: Int32Array
  /** This thread has gone on: its view of the region's state reads zero from now on. */
  closed = false

  constructor(
    control: ControlMemory,
    readonly participants: Participants,
  ) {
    this.#i32 = control.i32
  }

  enter(): void {
    const word = slotWord(this.participants.slot) + SLOT_WRITES
    Atomics.add(this.#i32, word, 1)
    if (this.closed || Atomics.load(this.#i32, HEADER_STATE_I) === STATE_DEAD) {
      Atomics.sub(this.#i32, word, 1)
      throw new RegionReplaced()
    }
  }

  /**
   * Behind what was read from a file: the region still stands, so no block of its map had been used again. Before what
   * lasts beyond this turn and changes nothing (a sync off this thread): one that counted would deadlock, because this
   * thread may wait for the builder while the builder waits for the count.
   */
  check(): void {
    if (this.closed || Atomics.load(this.#i32, HEADER_STATE_I) === STATE_DEAD) throw new RegionReplaced()
  }

  leave(): void {
    Atomics.sub(this.#i32, slotWord(this.participants.slot) + SLOT_WRITES, 1)
  }
}
