/**
 * Snapshot slots: the sequences that somebody reads at.
 *
 * Slot, 16 bytes: f64 sequence (+Infinity: held but not in use), i32 owner's token (0: free), i32 revoked.
 *
 * Thread safety: a slot is its owner's; a reaper clears the slots of the dead; the committer may set `revoked`.
 * Invariants
 * 1. Begin stores the slot's sequence, then looks at the floor, and begins again later when the floor has passed it. The
 *    trimmer stores the floor, then looks at the slots, and lowers the floor again. One of the two sees the other.
 * 2. floor <= every sequence in use that is not revoked; nothing above the floor's needs is trimmed.
 * 3. What lies between two sequences in use may be given up (`needed`), though it is above the floor. So a second bound
 *    rises to the newest sequence before slots are looked at for that, and stays: a thread that read an older sequence
 *    and had not stored it yet begins again.
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
      // Orders the store above before the loads below, as its counterparts in `refreshFloor` and `needed` do.
      Atomics.add(this.#i32, word + 3, 0)
      if ((this.#f64[VERSION_FLOOR_F] as number) <= sequence && (this.#f64[SNAPSHOT_BEGIN_F] as number) <= sequence) return slot
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
    const visible = this.#f64[VISIBLE_F] as number
    // Should this thread die before the floor is lowered again: nothing was trimmed, and the next call lowers it.
    this.#f64[VERSION_FLOOR_F] = visible
    Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    Atomics.add(this.#i32, SNAPSHOTS_HIGH_I, 0)
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
    const visible = this.#f64[VISIBLE_F] as number
    this.#f64[SNAPSHOT_BEGIN_F] = visible
    Atomics.add(this.#i32, SNAPSHOTS_HIGH_I, 0)
    return [...this.inUse(), visible]
  }

  /** All sequences in use, ascending. */
  inUse(): number[] {
    const high = Atomics.load(this.#i32, SNAPSHOTS_HIGH_I)
    const sequences: number[] = []
    for (let slot = 0; slot < high; slot++) {
      const word = this.#word(slot)
      const sequence = this.#f64[word >> 1] as number
      if ((this.#i32[word + 2] as number) !== 0 && (this.#i32[word + 3] as number) === 0 && sequence < Number.POSITIVE_INFINITY) {
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
