/**
 * Waiting for a word of shared memory to change, across processes. Atomics.wait refuses memory that V8 did not make.
 *
 * A wait blocks the thread, its event loop and `worker.terminate()`: the timeout is therefore mandatory, and short ones
 * in a loop are the caller's habit. A wake with nobody waiting costs 0.5 µs, with a waiter 0.7, a round trip 19 to 22.
 */
import { assert } from '../base/assert.js'
import { fromErrno } from '../base/errors.js'
import { type Address, FUTEX_WAIT, FUTEX_WAKE, futex, lastErrno } from './libc.js'

const EINTR = 4
const EAGAIN = 11
const ETIMEDOUT = 110

const MAX_TIMEOUT_MS = 60_000

/** struct timespec: seconds and nanoseconds as int64, their upper halves stay zero. One per thread: modules are. */
const timespec = new Int32Array(4)
const timespecBytes = new Uint8Array(timespec.buffer)

/**
 * Sleeps while the int32 at `address` is `expected`, at most `timeoutMs`. True when woken or when the word differs
 * already; false when the time is over. May return true for no reason: look at the word again.
 */
export function futexWait(address: Address, expected: number, timeoutMs: number): boolean {
  assert(timeoutMs >= 0 && timeoutMs <= MAX_TIMEOUT_MS, 'a futex wait is bounded')
  const deadlineMs = performance.now() + timeoutMs
  let leftMs = timeoutMs
  while (leftMs > 0) {
    const seconds = Math.floor(leftMs / 1000)
    timespec[0] = seconds
    timespec[2] = Math.floor((leftMs - seconds * 1000) * 1e6)
    if (futex(address, FUTEX_WAIT, expected, timespecBytes) === 0) return true
    const errno = lastErrno()
    if (errno === EAGAIN) return true
    if (errno === ETIMEDOUT) return false
    if (errno !== EINTR) throw fromErrno(errno, 'wait for another process')
    leftMs = deadlineMs - performance.now()
  }
  return false
}

/** Wakes up to `count` sleepers at `address`; returns how many there were. */
export function futexWake(address: Address, count: number): number {
  const woken = futex(address, FUTEX_WAKE, count, null)
  if (woken < 0) throw fromErrno(lastErrno(), 'wake another process')
  return woken
}
