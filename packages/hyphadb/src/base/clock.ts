/** Time as a dependency: what decides by time takes a Clock, so that tests can drive it. */

export interface Clock {
  /** Wall clock: milliseconds since 1970. May jump either way. */
  nowMs(): number
  /** Milliseconds from an arbitrary start; never goes back. Comparable only within one thread. */
  monotonicMs(): number
}

export const realClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/** A clock that stands still until it is told to move. */
export class ManualClock implements Clock {
  #nowMs: number
  #monotonicMs = 0

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  /** Lets `milliseconds` pass on both clocks. */
  advance(milliseconds: number): void {
    this.#nowMs += milliseconds
    this.#monotonicMs += milliseconds
  }

  /** Sets the wall clock alone, as an administrator or NTP would. */
  jump(nowMs: number): void {
    this.#nowMs = nowMs
  }
}
