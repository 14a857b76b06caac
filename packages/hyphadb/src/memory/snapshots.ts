/**
 * Snapshot slots: the sequences that somebody reads at.
 *
 * Slot, 16 bytes: f64 sequence (+Infinity: held but not in use), i32 owner's token (0: free), i32 revoked.
 *
 * Thread safety: a slot is its owner's; a reaper clears the slots of the dead; the committer may set `revoked`.
 * Invariants
 * 1. Who is about to give up versions first raises the bound of beginning to the newest sequence, then looks at the slots.
 *    Begin stores its slot's sequence, then looks at the bound, and begins again when the bound has passed it. One of the
 *    two sees the other. The bound never falls: not even for a slot that stands just now and will be taken back.
 * 2. Everything above the floor is kept for the sequences in use that are not revoked, or (`needed`) what they show of it.
 *    The floor alone could not guard begin: an older snapshot holds it back while versions above it are given up.
 */
import { HyphaError } from '../base/errors.js'
import { faultPoint, faults } from '../base/fault-points.js'
import type { ControlMemory } from './control-memory.js'
import {
  PUBLISH_I,
  SNAPSHOT_BEGIN_F,
  SNAPSHOTS_HIGH_I,
  SNAPSHOTS_MAX,
  SNAPSHOTS_OFFSET,
  VERSION_FLOOR_F,
  VISIBLE_F,
} from './layout.js'
import type { Participants } from './participants.js'

export class Snapshots {
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #free: number[] = []

  constructor(
    control: ControlMemory,
    readonly participants: Participants,
  ) {
    this.#i32 = control.i32
    this.#f64 = control.f64
  }

  #word(slot: number): number {
    return (SNAPSHOTS_OFFSET >> 2) + slot * 4
  }

  get visible(): number {
    Atomics.load(this.#i32, PUBLISH_I)
    return this.#f64[VISIBLE_F] as number
  }

  /** Takes a slot at the newest published sequence. */
  begin(): number {
    const slot = this.#free.pop() ?? this.#claim()
    const word = this.#word(slot)
    this.#i32[word + 3] = 0
    for (;;) {
      const sequence = this.visible
      if (faults.armed) faultPoint('snapshot.begin')
      this.#f64[word >> 1] = sequence
      if (faults.armed) faultPoint('snapshot.stored')
      // Orders the store above before the load below, as its counterpart in `#raiseBound` does.
      Atomics.add(this.#i32, word + 3, 0)
      if ((this.#f64[SNAPSHOT_BEGIN_F] as number) <= sequence) return slot
    }
  }

  /** True when a snapshot of this thread is at this sequence: nothing that it needs is trimmed. */
  holds(sequence: number): boolean {
    const { token } = this.participants
    const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    for (let slot = 0; slot < high; slot++) {
      const word = this.#word(slot)
      if ((this.#i32[word + 2] as number) === token && (this.#f64[word >> 1] as number) === sequence) {
        return (this.#i32[word + 3] as number) === 0
      }
    }
    return false
  }

  sequenceOf(slot: number): number {
    return this.#f64[this.#word(slot) >> 1] as number
  }

  revoked(slot: number): boolean {
    return (this.#i32[this.#word(slot) + 3] as number) !== 0
  }

  end(slot: number): void {
    this.#f64[this.#word(slot) >> 1] = Number.POSITIVE_INFINITY
    this.#free.push(slot)
  }

  #claim(): number {
    const { token } = this.participants
    for (let slot = 0; slot < SNAPSHOTS_MAX; slot++) {
      const word = this.#word(slot)
      if ((this.#i32[word + 2] as number) !== 0) continue
      if (Atomics.compareExchange(this.#i32, word + 2, 0, token) !== 0) continue
      this.#f64[word >> 1] = Number.POSITIVE_INFINITY
      for (;;) {
        const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
        if (high > slot || Atomics.compareExchange(this.#i32, SNAPSHOTS_HIGH_I, high, slot + 1) === high) return slot
      }
    }
    throw new HyphaError(
      'HYPHA_BUSY',
      `All ${SNAPSHOTS_MAX} snapshots are open. Close snapshots, iterators and transactions that are not needed`,
    )
  }

  /** For the holder of the commit latch: recomputes the floor. */
  refreshFloor(): number {
    const visible = this.#raiseBound()
    const floor = Math.min(visible, this.oldest())
    this.#f64[VERSION_FLOOR_F] = floor
    return floor
  }

  /** The smallest sequence in use, +Infinity when there is none. */
  oldest(): number {
    const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    let oldest = Number.POSITIVE_INFINITY
    for (let slot = 0; slot < high; slot++) {
      const word = this.#word(slot)
      if ((this.#i32[word + 2] as number) === 0 || (this.#i32[word + 3] as number) !== 0) continue
      const sequence = this.#f64[word >> 1] as number
      if (sequence < oldest) oldest = sequence
    }
    return oldest
  }

  /**
   * For the holder of the commit latch: every sequence at which something may be read from now on; a version that none of
   * them shows may go.
   */
  needed(): number[] {
    const visible = this.#raiseBound()
    return [...this.inUse(), visible]
  }

  /** No snapshot begins below the newest sequence from now on. Returns it. */
  #raiseBound(): number {
    const visible = this.#f64[VISIBLE_F] as number
    this.#f64[SNAPSHOT_BEGIN_F] = visible
    Atomics.add(this.#i32, SNAPSHOTS_HIGH_I, 0)
    return visible
  }

  /** All sequences in use, ascending. */
  inUse(): number[] {
    const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    const sequences: number[] = []
    for (let slot = 0; slot < high; slot++) {
      const word = this.#word(slot)
      const sequence = this.#f64[word >> 1] as number
      if (
        (this.#i32[word + 2] as number) !== 0 &&
        (this.#i32[word + 3] as number) === 0 &&
        sequence < Number.POSITIVE_INFINITY
      ) {
        sequences.push(sequence)
      }
    }
    return sequences.sort((a, b) => a - b)
  }

  /** Gives up the oldest snapshot (HYPHA_SNAPSHOT_TOO_OLD for its owner). False when there is none. */
  revokeOldest(): boolean {
    const oldest = this.oldest()
    if (oldest === Number.POSITIVE_INFINITY) return false
    const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    for (let slot = 0; slot < high; slot++) {
      const word = this.#word(slot)
      if ((this.#f64[word >> 1] as number) === oldest) Atomics.store(this.#i32, word + 3, 1)
    }
    return true
  }

  /** For the reaper: the slots of a dead participant. Those of others are untouched. */
  reap(token: number): void {
    const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    for (let slot = 0; slot < high; slot++) {
      const word = this.#word(slot)
      if ((this.#i32[word + 2] as number) !== token) continue
      this.#f64[word >> 1] = Number.POSITIVE_INFINITY
      this.#i32[word + 3] = 0
      Atomics.store(this.#i32, word + 2, 0)
    }
  }

  /** Gives back every slot of ours. */
  close(): void {
    this.reap(this.participants.token)
    this.#free.length = 0
  }
}
