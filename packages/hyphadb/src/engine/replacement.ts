/**
 * Going on to the next generation of the region, from within a process that has the database open.
 *
 * ```
 *   DEAD seen ─► byte 0 ─► `region` names another, live one ──► join it
 *                    └──► it still names ours ──► wait until nobody is inside a file write
 *                                             ──► ring to the log ─► recovery into a new region ─► `region` renamed
 * ```
 * The builder's own death leaves no trace: `region` names the dead region until the new one is complete, and the next one
 * to take byte 0 begins again.
 */
import { HyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import * as L from '../memory/layout.js'
import { byteOfSlot, SLOT_WRITES, slotWord } from '../memory/participants.js'
import type { ByteLockFile } from '../os/byte-locks.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'
import { OPEN_BYTE, takeOpenByteSync } from './membership.js'
import { buildNext, join_, type Opened, readRegionName } from './open.js'
import type { ResolvedOptions } from './options.js'

const sleepWord = new Int32Array(new SharedArrayBuffer(4))

/** Leaves a dead region and joins or builds the next. Synchronous: readers wait for it as for an open. */
export function replaceRegion(old: Core, locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Opened {
  const oldSlot = old.participants.slot
  old.replaced = true
  takeOpenByteSync(locks, Math.max(options.busyTimeoutMs, 60_000))
  try {
    faultPoint('generation.locked')
    const name = readRegionName(paths, options)
    const opened =
      name !== undefined && name !== old.region.name
        ? { core: join_(locks, paths, options, name), report: undefined }
        : buildAfter(old, locks, paths, options)
    if (opened.core.participants.slot !== oldSlot) locks.unlock(byteOfSlot(oldSlot))
    return opened
  } finally {
    locks.unlock(OPEN_BYTE)
  }
}

function buildAfter(old: Core, locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Opened {
  Atomics.store(old.region.control.i32, L.HEADER_STATE_I, L.STATE_DEAD)
  waitForWriters(old, locks, options.busyTimeoutMs)
  faultPoint('generation.quiet')
  return buildNext(locks, paths, options, old.region)
}

/** Until no living participant is inside a write to a file. */
function waitForWriters(old: Core, locks: ByteLockFile, timeoutMs: number): void {
  const { i32 } = old.region.control
  const deadline = performance.now() + timeoutMs
  for (const slot of old.participants.active()) {
    const word = slotWord(slot) + SLOT_WRITES
    while (slot !== old.participants.slot && Atomics.load(i32, word) > 0 && locks.isLockedByOther(byteOfSlot(slot))) {
      if (performance.now() > deadline) {
        throw new HyphaError(
          'HYPHA_BUSY',
          `Process ${old.participants.pidOf(old.participants.tokenOfSlot(slot))} stands in the middle of a write to a file (stopped?) and the shared region must be replaced. Continue or end it, then try again`,
        )
      }
      Atomics.wait(sleepWord, 0, 0, 1)
    }
  }
}
