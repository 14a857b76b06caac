/**
 * Recovery: from the last complete checkpoint and the log behind it to the state of the last durable commit (and of all
 * commits that had reached the files, durable or not).
 *
 * ```
 *   superblock ─► page map ─► log from the redo position: commits with a sequence above the checkpoint's are applied
 *              ─► salvage of a dead region's ring (open.ts) comes before, by writing it to the log
 *              ─► a new run of the log, with a new salt
 * ```
 * There is nothing to undo: pages are changed only by commits that are in the log.
 */
import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { LogReader, type LogReaderOptions } from '../log/reader.js'
import { RECORD_CHECKPOINT, RECORD_COMMIT, RECORD_FRAGMENT, RECORD_STUB } from '../log/record.js'
import { beginRun } from '../log/run.js'
import * as L from '../memory/layout.js'
import { BLOCK_FREE } from '../pages/allocator.js'
import { readSuperblocks, type Superblock, type Superblocks, settleSuperblocks } from '../pages/superblock.js'
import { OpenTransactions, redo } from '../txn/redo.js'
import type { Core } from './core.js'

export interface RecoveryReport {
  readonly epoch: number
  readonly replayedTransactions: number
  readonly replayedBytes: number
  readonly sequence: number
  readonly logEnd: number
}

/**
 * The superblock to start from. The older one serves only if the newer was never completed: the log must not say that it
 * was, since the blocks of the older one may have been used again then.
 */
export function chooseSuperblock(
  superblocks: Superblocks,
  log: Omit<LogReaderOptions, 'from'>,
  path: string,
): Superblock {
  const newest = superblocks.valid[0] as Superblock
  const { lostOffset } = superblocks
  if (lostOffset === undefined) return newest
  const lost = `Both copies of a superblock in ${path} are damaged (offset ${lostOffset})`
  let epoch: number
  try {
    epoch = newestCompletion(log, newest)
  } catch (error) {
    if (!isHyphaError(error, 'HYPHA_CORRUPT')) throw error
    throw new HyphaError(
      'HYPHA_CORRUPT',
      `${lost}, and the other one needs what the log does not give: ${error.message}`,
      { cause: error },
    )
  }
  if (epoch <= newest.epoch) return newest
  throw new HyphaError(
    'HYPHA_CORRUPT',
    `${lost}; it was the newest (epoch ${epoch}), and the other one no longer describes the file. Restore from a backup`,
  )
}

/** The largest epoch that the log calls complete, from where the superblock's recovery begins; 0 for none. */
function newestCompletion(log: Omit<LogReaderOptions, 'from'>, superblock: Superblock): number {
  const reader = new LogReader({ ...log, from: superblock.redo })
  let epoch = 0
  while (reader.next()) {
    if (reader.record.type === RECORD_CHECKPOINT) epoch = Math.max(epoch, reader.record.checkpointEpoch)
  }
  return epoch
}

export { readSuperblocks }

/** Fills a region that was just built, and begins the log's new run. */
export function recover(core: Core, superblock: Superblock | undefined, segmentBytes: number): RecoveryReport {
  const { region } = core
  const { i32, f64 } = region.control
  core.versionRing.initialise()
  i32[L.EPOCH_I] = (superblock?.epoch ?? 0) + 1
  i32[L.CHECKPOINT_DURABLE_I] = superblock?.epoch ?? 0
  i32[L.PAGE_LIMIT_I] = 1
  i32[L.PAGE_HINT_I] = 1
  i32[L.BLOCK_LIMIT_I] = core.file.firstBlock
  i32[L.BLOCK_HINT_I] = core.file.firstBlock
  if (superblock === undefined) {
    return begin(core, undefined, segmentBytes, { replayed: 0, end: 0, from: 0 })
  }
  core.checkpointer.map.load(superblock)
  f64[L.CHECKPOINT_DURABLE_REDO_F] = superblock.redo
  f64[L.VISIBLE_F] = superblock.sequence
  f64[L.VERSION_FLOOR_F] = superblock.sequence
  f64[L.CLOCK_F] = superblock.clock
  countFreeBlocks(core)
  const { files, logDirectory } = core.options
  const log = { files, directory: logDirectory, databaseId: superblock.databaseId }
  settleSuperblocks(core.file.file, superblock, () => newestCompletion(log, superblock) >= superblock.epoch)
  const replay = replayLog(core, superblock)
  core.versions.dropAll()
  Atomics.store(i32, L.GHOST_SWEEP_I, 1)
  faultPoint('recovery.replayed')
  return begin(core, superblock, segmentBytes, replay)
}

function countFreeBlocks(core: Core): void {
  const { i32 } = core.region.control
  const limit = i32[L.BLOCK_LIMIT_I] as number
  let free = 0
  for (let block = core.file.firstBlock; block < limit; block++) {
    if (core.region.blockState[block] === BLOCK_FREE) free++
  }
  i32[L.BLOCKS_FREE_I] = free
}

interface Replay {
  replayed: number
  from: number
  end: number
}

function replayLog(core: Core, superblock: Superblock): Replay {
  const { options, committer, region } = core
  const { f64 } = region.control
  const reader = new LogReader({
    files: options.files,
    directory: options.logDirectory,
    databaseId: superblock.databaseId,
    from: superblock.redo,
    durableThrough: superblock.position,
  })
  const open = new OpenTransactions()
  let replayed = 0
  while (reader.next()) {
    const { record, bytes } = reader
    if (record.timestamp > (f64[L.CLOCK_F] as number)) f64[L.CLOCK_F] = record.timestamp
    if (record.type === RECORD_FRAGMENT) open.fragment(record, bytes)
    if (record.type !== RECORD_COMMIT && record.type !== RECORD_STUB) continue
    const { sequence } = record
    if (sequence <= superblock.sequence) {
      if (record.type === RECORD_COMMIT && record.fragmentCount > 0) open.commit(record, bytes)
      continue
    }
    if (sequence !== committer.visible + 1) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `The log jumps from commit ${committer.visible} to ${sequence} at position ${reader.position}. Run \`hypha verify\`, restore from a backup`,
      )
    }
    if (record.type === RECORD_COMMIT) {
      core.changes.reservePages(8)
      redo(committer, open.commit(record, bytes), sequence)
    }
    f64[L.VISIBLE_F] = sequence
    core.snapshots.refreshFloor()
    faultPoint('recovery.redone')
    replayed++
  }
  return { replayed, from: superblock.redo, end: reader.nextPosition }
}

function begin(core: Core, superblock: Superblock | undefined, segmentBytes: number, replay: Replay): RecoveryReport {
  const { region, options } = core
  const { f64 } = region.control
  f64[L.HEADER_SEGMENT_BYTES_F] = segmentBytes
  const run = beginRun({
    files: options.files,
    directory: options.logDirectory,
    databaseId: region.identity().databaseId,
    base: replay.end,
    durableBefore: superblock?.redo ?? 0,
    segmentBytes,
  })
  core.ring.begin(run)
  f64[L.VISIBLE_POSITION_F] = replay.end
  faultPoint('recovery.run-begun')
  return {
    epoch: superblock?.epoch ?? 0,
    replayedTransactions: replay.replayed,
    replayedBytes: replay.end - replay.from,
    sequence: f64[L.VISIBLE_F] as number,
    logEnd: replay.end,
  }
}
