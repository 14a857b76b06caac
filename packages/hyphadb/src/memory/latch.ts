/**
 * A latch in shared memory: one word with the owner's token (0 = free), and beside it a flag that somebody may be asleep.
 *
 * Thread safety: any thread of any process. Not re-entrant. A latch is held for microseconds and never across an await;
 * an owner that died is found by its byte lock and repaired by whoever waits (`reapDead`), an owner that is stopped makes
 * the others give up with HYPHA_BUSY.
 *
 * Order: checkpoint, commit, allocator. The log's write latch is taken with none or with the checkpoint latch held.
 */
import { assert } from '../base/assert.js'
import { HyphaError } from '../base/errors.js'
import { futexWait, futexWake } from '../os/futex.js'
import type { ControlMemory } from './control-memory.js'
import { type Participants, slotOfToken } from './participants.js'

const SPINS = 400
const SLEEP_FIRST_MS = 1
const SLEEP_MS_MAX = 20

export class Latch {
  readonly #i32: Int32Array
  readonly #word: number
  readonly #waiters: number
  readonly #address: number

  constructor(
    control: ControlMemory,
    word: number,
    readonly name: string,
    readonly participants: Participants,
    readonly reapDead: (slot: number) => void,
  ) {
    this.#i32 = control.i32
    this.#word = word
    this.#waiters = word + 1
    this.#address = control.address + word * 4
  }

  get owner(): number {
    return Atomics.load(this.#i32, this.#word)
  }

  get held(): boolean {
    return this.owner === this.participants.token
  }

  tryAcquire(): boolean {
    return Atomics.compareExchange(this.#i32, this.#word, 0, this.participants.token) === 0
  }

  /** Spins, then sleeps. HYPHA_BUSY when the same living owner, or a queue of them, outlasts the timeout. */
  acquire(timeoutMs: number): void {
    if (this.tryAcquire()) return
    for (let i = 0; i < SPINS; i++) {
      if ((this.#i32[this.#word] as number) === 0 && this.tryAcquire()) return
    }
    this.#acquireSlowly(timeoutMs)
  }

  #acquireSlowly(timeoutMs: number): void {
    const deadline = performance.now() + timeoutMs
    let sleepMs = SLEEP_FIRST_MS
    assert(this.owner !== this.participants.token, 'a latch is not re-entrant')
    for (;;) {
      // Raised before each sleep and left raised by who got in after one: others may still be asleep. A waiter that dies
      // costs one needless wake, no more.
      Atomics.store(this.#i32, this.#waiters, 1)
      const owner = this.owner
      if (owner !== 0) futexWait(this.#address, owner, sleepMs)
      if (this.tryAcquire()) {
        Atomics.store(this.#i32, this.#waiters, 1)
        return
      }
      if (owner !== 0 && this.owner === owner) {
        this.recoverFromDeath(owner)
        sleepMs = Math.min(sleepMs * 2, SLEEP_MS_MAX)
        if (performance.now() > deadline) throw this.busy(owner)
      }
    }
  }

  /** When the owner is dead, repairs what it left (which frees the latch). True when it did. */
  recoverFromDeath(owner: number): boolean {
    const slot = slotOfToken(owner)
    if (!this.participants.claimDead(slot)) return false
    this.reapDead(slot)
    return true
  }

  busy(owner: number): HyphaError {
    return new HyphaError(
      'HYPHA_BUSY',
      `Process ${this.participants.pidOf(owner)} holds the ${this.name} latch and does not move (stopped?). Continue or end it, then try again`,
    )
  }

  release(): void {
    Atomics.store(this.#i32, this.#word, 0)
    if (Atomics.load(this.#i32, this.#waiters) !== 0) {
      Atomics.store(this.#i32, this.#waiters, 0)
      futexWake(this.#address, 1)
    }
  }

  /** For the reaper, which holds the dead owner's byte: the latch passes from the dead to us. */
  takeFrom(deadToken: number): boolean {
    return Atomics.compareExchange(this.#i32, this.#word, deadToken, this.participants.token) === deadToken
  }
}
