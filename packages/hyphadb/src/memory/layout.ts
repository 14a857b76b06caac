/**
 * Layout of the control segment.
 *
 * | section | offset | size | who writes |
 * |---|---|---|---|
 * | header | 0 | 4096 | the builder, before the region has a name; then only `state`, and where the next one begins |
 * | words | 4096 | 4096 | see below |
 * | log words | 8192 | 4096 | log/ |
 * | participants | 12288 | 256 x PARTICIPANTS_MAX | a slot's owner; its reaper, holding its byte |
 * | snapshot slots | | 16 x SNAPSHOTS_MAX | the slot's owner; reapers; revoked by the committer |
 * | undo area | | computed | the holder of the commit latch |
 * | frame words | | 20 x framesMax + framesMax | see pages/frames.ts |
 * | log ring | | power of two | the holder of the commit latch |
 * | version ring | | multiple of 4096 | the holder of the commit latch |
 *
 * Word constants ending in _I are indexes into Int32 views, those ending in _F into Float64 views. Sequences and log
 * positions are float64: exact to 2^53, one aligned store, no BigInt.
 */
import { assert } from '../base/assert.js'

export const LAYOUT_VERSION = 1
export const REGION_MAGIC = 0x48595048 // "HYPH"

export const PARTICIPANTS_MAX = 128
export const PARTICIPANT_BYTES = 256
export const SNAPSHOTS_MAX = 2048
export const SNAPSHOT_BYTES = 16

// Header, byte offsets.
export const HEADER_MAGIC_I = 0
export const HEADER_LAYOUT_I = 1
export const HEADER_STATE_I = 2
export const HEADER_GENERATION_I = 3
export const HEADER_PAGE_SIZE_I = 4
export const HEADER_FRAMES_MAX_I = 5
export const HEADER_PAGES_MAX_I = 6
export const HEADER_ATTACH_DEVICE_F = 8
export const HEADER_ATTACH_INODE_F = 9
export const HEADER_SIZE_F = 10
export const HEADER_BUDGET_F = 11
export const HEADER_LOG_RING_BYTES_F = 12
export const HEADER_VERSION_RING_BYTES_F = 13
export const HEADER_SEGMENT_BYTES_F = 14
/** Where the next generation's log begins: what was committed here before it is saved, what came later is not. */
export const HEADER_SUCCEEDED_AT_F = 15
export const HEADER_DATABASE_ID_OFFSET = 256
export const HEADER_NONCE_OFFSET = 272
export const HEADER_BOOT_ID_OFFSET = 288 // 36 characters

export const STATE_BUILDING = 0
export const STATE_LIVE = 1
export const STATE_DEAD = 2

const WORDS = 4096
/** Cache-line apart, so that waiters on one latch do not slow the holder of another. */
const line = (n: number): number => (WORDS + n * 64) >> 2
const lineF = (n: number): number => (WORDS + n * 64) >> 3

// Latches: owner token, waiters.
export const COMMIT_LATCH_I = line(0)
export const ALLOCATOR_LATCH_I = line(1)
export const CHECKPOINT_LATCH_I = line(2)
export const LOG_WRITE_LATCH_I = line(3)

/** Visible sequence: everything at or below it is published. The i32 beside it is bumped after each publication. */
export const VISIBLE_F = lineF(4)
export const PUBLISH_I = line(4) + 2
export const CATALOG_VERSION_I = line(4) + 3
/** Position of the log's end as of VISIBLE. */
export const VISIBLE_POSITION_F = lineF(4) + 2
export const CLOCK_F = lineF(4) + 3

// Commit descriptor: what the repairer reads.
export const COMMIT_STATE_I = line(5)
export const COMMIT_OWNER_I = line(5) + 1
export const COMMIT_SEQUENCE_F = lineF(5) + 1
export const COMMIT_START_F = lineF(5) + 2
export const COMMIT_END_F = lineF(5) + 3
export const COMMIT_FRAGMENTS_F = lineF(5) + 4
export const COMMIT_IDLE = 0
export const COMMIT_APPENDING = 1
export const COMMIT_APPLYING = 2

// Versions.
export const VERSION_HEAD_F = lineF(6)
export const VERSION_TAIL_F = lineF(6) + 1
export const VERSION_FLOOR_F = lineF(6) + 2
export const SNAPSHOT_BEGIN_F = lineF(6) + 3 // no snapshot may begin at a sequence below
export const VERSION_SPILL_HEAD_F = lineF(6) + 4
export const KEPT_LIMIT_I = line(6) + 12 // whether more versions are kept than may be (versions.ts)
export const SNAPSHOTS_HIGH_I = line(6) + 13

// Pool.
export const FRAMES_READY_I = line(7) // frames that have memory
export const FRAMES_FRESH_I = line(7) + 1 // frames ever handed out
export const CLOCK_HAND_I = line(7) + 2
export const DIRTY_COUNT_I = line(7) + 3 // approximate
export const POOL_WRITES_F = lineF(7) + 6
export const POOL_EVICTIONS_F = lineF(7) + 7

// Allocator.
export const PAGES_READY_I = line(8) // entries of the page directory that have memory
export const PAGE_HINT_I = line(8) + 1
export const PAGE_LIMIT_I = line(8) + 2 // one more than the largest page id ever used
export const FREED_COUNT_I = line(8) + 3
export const BLOCKS_READY_I = line(8) + 4
export const BLOCK_LIMIT_I = line(8) + 5 // blocks that the data file has
export const BLOCK_HINT_I = line(8) + 6
export const BLOCKS_FREE_I = line(8) + 7
// The allocator's intent: one map update, repeated by the repairer when the owner dies.
export const INTENT_STATE_I = line(9)
export const INTENT_PAGE_I = line(9) + 1
export const INTENT_BLOCK_I = line(9) + 2
export const INTENT_OLD_I = line(9) + 3
export const INTENT_OLD_STATE_I = line(9) + 4
export const INTENT_SIDE_I = line(9) + 5
export const INTENT_NEW_STATE_I = line(9) + 6
export const INTENT_PAGE_STATE_I = line(9) + 7

// Checkpoint. One is in progress while EPOCH - DURABLE is 2: it is the checkpoint of epoch EPOCH - 1.
export const EPOCH_I = line(10) // the open epoch: what is changed now belongs to it
export const CHECKPOINT_DURABLE_I = line(10) + 1 // epoch of the last complete checkpoint
export const CHECKPOINT_COMPLETING_I = line(10) + 2 // epoch whose completion was begun under the allocator latch; 0 none
export const CHECKPOINT_REQUESTED_I = line(10) + 3
export const CHECKPOINT_POSITION_F = lineF(10) + 2 // log position of the checkpoint in progress
export const CHECKPOINT_REDO_F = lineF(10) + 3 // where its recovery begins to read
export const CHECKPOINT_SEQUENCE_F = lineF(10) + 4
export const CHECKPOINT_DURABLE_REDO_F = lineF(10) + 5
export const CHECKPOINTS_DONE_F = lineF(10) + 6
export const SIDE_COUNT_I = line(10) + 14

// Undo area's words.
export const UNDO_STATE_I = line(11)
export const UNDO_USED_I = line(11) + 1
export const UNDO_RANGES_I = line(11) + 2
export const UNDO_PAGES_I = line(11) + 3
export const UNDO_OWNER_I = line(11) + 4
export const UNDO_SERIAL_I = line(11) + 5
export const UNDO_VERSION_HEAD_F = lineF(11) + 3
export const UNDO_IDLE = 0
export const UNDO_EDITING = 1
export const UNDO_RELEASING = 2

// Faults and housekeeping.
export const POISON_I = line(12)
export const COMMITS_F = lineF(12) + 2
export const CONFLICTS_F = lineF(12) + 3
export const REPAIRS_F = lineF(12) + 4
export const LOG_ALLOCATION_LATCH_I = line(14)
/** Ghosts whose makers have forgotten them may be about: the housekeeper walks all tables. */
export const GHOST_SWEEP_I = line(13) + 8
export const RESERVATION_OWNER_I = line(13)
export const RESERVATION_UNTIL_F = lineF(13) + 1

export const LOG_WORDS_OFFSET = 8192
export const LOG_WORDS_BYTES = 4096
export const PARTICIPANTS_OFFSET = 12288
export const SNAPSHOTS_OFFSET = PARTICIPANTS_OFFSET + PARTICIPANTS_MAX * PARTICIPANT_BYTES
export const UNDO_PAGE_LIST_MAX = 64
export const UNDO_OFFSET = SNAPSHOTS_OFFSET + SNAPSHOTS_MAX * SNAPSHOT_BYTES

/** Pages that one mini-transaction may have to copy whole: a split or merge along the deepest tree, and then some. */
export const UNDO_WHOLE_PAGES = 26

/** Directory pages that a superblock can name. */
export const MAP_DIRECTORY_MAX = 512

export interface Geometry {
  pageSize: number
  framesMax: number
  pagesMax: number
  undoListOffset: number
  undoBytesOffset: number
  undoBytes: number
  frameStateOffset: number
  frameDirtyOffset: number
  frameEpochOffset: number
  frameFlushOffset: number
  framePageOffset: number
  frameRefOffset: number
  chunkOffset: number
  chunksMax: number
  /** Map directory: block and checksum of each directory page. */
  mapDirectoryOffset: number
  logRingOffset: number
  logRingBytes: number
  versionRingOffset: number
  versionRingBytes: number
  controlBytes: number
  /** Frames that one growth step adds. */
  framesPerStep: number
}

const align = (n: number, to: number): number => Math.ceil(n / to) * to

/** Where everything lies, from the numbers in the header alone: every process computes the same. */
export function geometryOf(
  pageSize: number,
  framesMax: number,
  pagesMax: number,
  logRingBytes: number,
  versionRingBytes: number,
): Geometry {
  assert((logRingBytes & (logRingBytes - 1)) === 0, 'the log ring is a power of two')
  const entriesPerChunk = (pageSize - 64) >> 2
  const chunksMax = Math.ceil(pagesMax / entriesPerChunk)
  let at = UNDO_OFFSET
  const take = (bytes: number): number => {
    const here = at
    at = align(at + bytes, 64)
    return here
  }
  const undoListOffset = take(UNDO_PAGE_LIST_MAX * 16)
  const undoBytes = align(UNDO_WHOLE_PAGES * (pageSize + 64), 64)
  const undoBytesOffset = take(undoBytes)
  const frameStateOffset = take(framesMax * 4)
  const frameDirtyOffset = take(framesMax * 4)
  const frameEpochOffset = take(framesMax * 4)
  const frameFlushOffset = take(framesMax * 4)
  const framePageOffset = take(framesMax * 4)
  const frameRefOffset = take(framesMax)
  const chunkOffset = take(chunksMax * 8)
  const mapDirectoryOffset = take(MAP_DIRECTORY_MAX * 8)
  at = align(at, 4096)
  const logRingOffset = take(logRingBytes)
  at = align(at, 4096)
  const versionRingOffset = take(versionRingBytes)
  at = align(at, 4096)
  return {
    pageSize,
    framesMax,
    pagesMax,
    undoListOffset,
    undoBytesOffset,
    undoBytes,
    frameStateOffset,
    frameDirtyOffset,
    frameEpochOffset,
    frameFlushOffset,
    framePageOffset,
    frameRefOffset,
    chunkOffset,
    chunksMax,
    mapDirectoryOffset,
    logRingOffset,
    logRingBytes,
    versionRingOffset,
    versionRingBytes,
    controlBytes: at,
    framesPerStep: Math.max(1, (16 << 20) / pageSize),
  }
}
