/**
 * Going on to the next generation of the region, from within a thread that has the database open (region-building.ts says
 * how the next one comes about).
 */
import { faultPoint } from '../base/fault-points.js'
import { byteOfSlot } from '../memory/participants.js'
import type { ByteLockFile } from '../os/byte-locks.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'
import { OPEN_BYTE, takeOpenByteSync } from './membership.js'
import type { ResolvedOptions } from './options.js'
import { joinOrBuild, type Opened } from './region-building.js'

const OPEN_PATIENCE_MS = 60_000

/** Leaves a dead region and joins or builds the next. Synchronous: readers wait for it as for an open. */
export function replaceRegion(old: Core, locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Opened {
  const oldSlot = old.participants.slot
  old.replaced = true
  takeOpenByteSync(locks, Math.max(options.busyTimeoutMs, OPEN_PATIENCE_MS))
  try {
    faultPoint('generation.locked')
    const opened = joinOrBuild(locks, paths, options, old.region)
    if (opened.core.participants.slot !== oldSlot) locks.unlock(byteOfSlot(oldSlot))
    return opened
  } finally {
    locks.unlock(OPEN_BYTE)
  }
}
