/** Figures of a live database, as a plain object. Counters count since the region was built. */
import * as L from '../memory/layout.js'
import { SLOT_KIND, SLOT_PID, SLOT_STARTED_F, slotWord } from '../memory/participants.js'
import { NewestReader } from '../txn/reading.js'
import { catalogTable } from './catalog.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'

export interface EngineStats {
  directory: string
  generation: number
  pageSize: number
  memory: { budget: number; frames: number; framesReady: number }
  pool: { dirty: number; writes: number; evictions: number; readsHere: number }
  data: { pages: number; blocks: number; freeBlocks: number; bytes: number; freeBytes: number }
  log: { tail: number; written: number; durable: number; sinceCheckpoint: number; ring: number; poisoned: boolean }
  transactions: { sequence: number; commits: number; conflicts: number; repairs: number }
  versions: { ringBytes: number; ringUsed: number; keptBytes: number; floor: number }
  snapshots: { open: number; oldest: number | null }
  checkpoint: { epoch: number; durable: number; inProgress: boolean; count: number }
  participants: { slot: number; pid: number; kind: string; since: string }[]
  tables: { name: string; id: number; options: unknown }[]
}

export function engineStats(core: Core, paths: DatabasePaths): EngineStats {
  const { region, evictor, ring, versionRing, snapshots, participants, allocator } = core
  const { i32, f64 } = region.control
  const pageSize = region.geometry.pageSize
  const oldest = snapshots.oldest()
  const limit = i32[L.BLOCK_LIMIT_I] as number
  return {
    directory: paths.directory,
    generation: region.generation,
    pageSize,
    memory: {
      budget: f64[L.HEADER_BUDGET_F] as number,
      frames: region.geometry.framesMax,
      framesReady: i32[L.FRAMES_READY_I] as number,
    },
    pool: {
      dirty: evictor.dirtyCount,
      writes: f64[L.POOL_WRITES_F] as number,
      evictions: f64[L.POOL_EVICTIONS_F] as number,
      readsHere: core.pool.reads,
    },
    data: {
      pages: (i32[L.PAGE_LIMIT_I] as number) - 1,
      blocks: limit,
      freeBlocks: allocator.freeBlocks,
      bytes: limit * pageSize,
      freeBytes: allocator.freeBlocks * pageSize,
    },
    log: {
      tail: ring.tail,
      written: ring.written,
      durable: ring.durable,
      sinceCheckpoint: ring.tail - (f64[L.CHECKPOINT_DURABLE_REDO_F] as number),
      ring: ring.capacity,
      poisoned: ring.poison !== 0,
    },
    transactions: {
      sequence: f64[L.VISIBLE_F] as number,
      commits: f64[L.COMMITS_F] as number,
      conflicts: f64[L.CONFLICTS_F] as number,
      repairs: f64[L.REPAIRS_F] as number,
    },
    versions: {
      ringBytes: versionRing.size,
      ringUsed: versionRing.used,
      keptBytes: f64[L.VERSION_SPILL_HEAD_F] as number,
      floor: f64[L.VERSION_FLOOR_F] as number,
    },
    snapshots: { open: snapshots.inUse().length, oldest: oldest === Number.POSITIVE_INFINITY ? null : oldest },
    checkpoint: {
      epoch: i32[L.EPOCH_I] as number,
      durable: i32[L.CHECKPOINT_DURABLE_I] as number,
      inProgress: core.checkpointer.inProgress,
      count: f64[L.CHECKPOINTS_DONE_F] as number,
    },
    participants: participants.active().map(slot => {
      const word = slotWord(slot)
      return {
        slot,
        pid: i32[word + SLOT_PID] as number,
        kind: (i32[word + SLOT_KIND] as number) === 0 ? 'application' : 'housekeeper',
        since: new Date(f64[(word >> 1) + SLOT_STARTED_F] as number).toISOString(),
      }
    }),
    tables: tablesOf(core),
  }
}

function tablesOf(core: Core): EngineStats['tables'] {
  const newest = new NewestReader({
    trees: core.trees,
    overflow: core.overflow,
    snapshots: core.snapshots,
    checkAlive: core.checkAlive,
  })
  const cursor = newest.range(catalogTable, { gt: Buffer.alloc(0), lt: Buffer.from([0xff]) })
  const tables: EngineStats['tables'] = []
  while (cursor.next()) {
    const name = cursor.keyBuffer.toString('utf8', 0, cursor.keyLength)
    const row = JSON.parse(cursor.buffer.toString('utf8', cursor.valueStart, cursor.valueEnd)) as {
      id: number
      options: unknown
    }
    tables.push({ name, id: row.id, options: row.options })
  }
  return tables
}
