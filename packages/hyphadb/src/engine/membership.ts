/** The lock of opening and closing, and whether anybody else is there. */
import { HyphaError } from '../base/errors.js'
import { PARTICIPANTS_MAX } from '../memory/layout.js'
import { byteOfSlot } from '../memory/participants.js'
import type { ByteLockFile } from '../os/byte-locks.js'

export const OPEN_BYTE = 0

const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Opening and closing take milliseconds, recovery longer: wait for it without blocking the event loop. */
export async function takeOpenByte(locks: ByteLockFile, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + Math.max(timeoutMs, 60_000)
  for (let wait = 1; !locks.tryLock(OPEN_BYTE); wait = Math.min(wait * 2, 20)) {
    if (performance.now() > deadline) throw openingForLong(locks)
    await pause(wait)
  }
}

const sleepWord = new Int32Array(new SharedArrayBuffer(4))

/** The same for synchronous callers. */
export function takeOpenByteSync(locks: ByteLockFile, timeoutMs: number): void {
  const deadline = performance.now() + timeoutMs
  while (!locks.tryLock(OPEN_BYTE)) {
    if (performance.now() > deadline) throw openingForLong(locks)
    Atomics.wait(sleepWord, 0, 0, 1)
  }
}

function openingForLong(locks: ByteLockFile): HyphaError {
  return new HyphaError(
    'HYPHA_BUSY',
    `Another process has been opening ${locks.path} for a long time. See what it does, or end it`,
  )
}

export function anyoneElse(locks: ByteLockFile): boolean {
  return locks.firstLockedByOther(byteOfSlot(0), byteOfSlot(PARTICIPANTS_MAX)) >= 0
}
