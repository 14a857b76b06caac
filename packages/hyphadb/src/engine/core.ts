/**
 * One thread's view of one region: every part of the engine, put together. Built by whoever joins a live region and by
 * whoever builds one; thrown away as a whole when the thread closes or the region is replaced.
 */
import { HyphaError } from '../base/errors.js'
import { OverflowValues } from '../index/overflow.js'
import { LogReader } from '../log/reader.js'
import { RECORD_FRAGMENT } from '../log/record.js'
import { LogRing } from '../log/ring.js'
import { LogWriter } from '../log/writer.js'
import { FileGate, RegionReplaced } from '../memory/generation.js'
import { Latch } from '../memory/latch.js'
import * as L from '../memory/layout.js'
import { Participants } from '../memory/participants.js'
import type { Region } from '../memory/region.js'
import { Snapshots } from '../memory/snapshots.js'
import { VersionRing } from '../memory/version-ring.js'
import type { ByteLockFile } from '../os/byte-locks.js'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import { Allocator } from '../pages/allocator.js'
import { BlockFile } from '../pages/block-file.js'
import { Checkpointer } from '../pages/checkpoint.js'
import { Evictor } from '../pages/evictor.js'
import { Frames } from '../pages/frames.js'
import { PageChanges } from '../pages/page-changes.js'
import { BufferPool } from '../pages/pool.js'
import { SideTable } from '../pages/side-table.js'
import { UndoArea } from '../pages/undo-area.js'
import { Committer } from '../txn/committer.js'
import { OperationGatherer } from '../txn/redo.js'
import { Repairer } from '../txn/repair.js'
import { Trees } from '../txn/trees.js'
import { Versions } from '../txn/versions.js'

export interface CoreOptions {
  region: Region
  files: FileSystem
  data: FileHandle
  logDirectory: string
  locks: ByteLockFile
  busyTimeoutMs: number
  keptVersionBytes: number
  nowMs: () => number
}

export class Core {
  readonly region: Region
  readonly participants: Participants
  readonly latches: { commit: Latch; allocator: Latch; checkpoint: Latch; logWrite: Latch; logAllocation: Latch }
  readonly frames: Frames
  readonly file: BlockFile
  readonly pool: BufferPool
  readonly side: SideTable
  readonly allocator: Allocator
  readonly evictor: Evictor
  readonly undo: UndoArea
  readonly changes: PageChanges
  readonly versionRing: VersionRing
  readonly snapshots: Snapshots
  readonly versions: Versions
  readonly trees: Trees
  readonly overflow: OverflowValues
  readonly ring: LogRing
  readonly log: LogWriter
  readonly committer: Committer
  readonly repairer: Repairer
  readonly checkpointer: Checkpointer
  readonly #gate: FileGate
  closed = false
  /** This thread has gone on to the next generation. */
  replaced = false
  /** Called after each publication of ours. */
  onPublished: () => void = () => {}

  constructor(readonly options: CoreOptions) {
    const { region, locks, busyTimeoutMs } = options
    const { control, geometry } = region
    this.region = region
    this.participants = new Participants(control, locks)
    const reap = (slot: number): void => this.repairer.reap(slot)
    const latch = (word: number, name: string): Latch => new Latch(control, word, name, this.participants, reap)
    this.latches = {
      commit: latch(L.COMMIT_LATCH_I, 'commit'),
      allocator: latch(L.ALLOCATOR_LATCH_I, 'allocator'),
      checkpoint: latch(L.CHECKPOINT_LATCH_I, 'checkpoint'),
      logWrite: latch(L.LOG_WRITE_LATCH_I, 'log write'),
      logAllocation: latch(L.LOG_ALLOCATION_LATCH_I, 'log allocation'),
    }
    this.frames = new Frames(control, geometry)
    const gate = new FileGate(control, this.participants)
    this.#gate = gate
    this.file = new BlockFile(options.data, geometry.pageSize, gate)
    this.pool = new BufferPool(region, this.frames, this.file, this.participants, reap)
    this.side = new SideTable(region)
    this.allocator = new Allocator(
      control,
      region,
      this.side,
      this.latches.allocator,
      this.participants,
      this.file,
      busyTimeoutMs,
    )
    this.evictor = new Evictor(this.pool, this.frames, this.allocator, this.participants)
    this.undo = new UndoArea(control, geometry)
    this.pool.evictor = this.evictor
    this.pool.undo = this.undo
    this.changes = new PageChanges(this.pool, this.frames, this.evictor, this.allocator, this.undo)
    this.versionRing = new VersionRing(control, geometry)
    this.snapshots = new Snapshots(control, this.participants)
    this.overflow = new OverflowValues(this.pool, this.evictor, this.allocator, this.changes)
    this.versions = new Versions(control, this.versionRing, this.snapshots, options.keptVersionBytes)
    this.trees = new Trees(this.pool, this.changes, this.versionRing)
    this.versions.overflow = this.overflow
    this.versions.trees = this.trees
    this.ring = new LogRing(control, {
      wordsOffset: L.LOG_WORDS_OFFSET,
      ringOffset: geometry.logRingOffset,
      ringBytes: geometry.logRingBytes,
    })
    this.log = new LogWriter({
      files: options.files,
      directory: options.logDirectory,
      databaseId: region.identity().databaseId,
      ring: this.ring,
      writeLatch: this.latches.logWrite,
      allocationLatch: this.latches.logAllocation,
      gate,
      busyTimeoutMs,
    })
    this.committer = new Committer({
      control,
      latch: this.latches.commit,
      ring: this.ring,
      log: this.log,
      trees: this.trees,
      changes: this.changes,
      versions: this.versions,
      versionRing: this.versionRing,
      overflow: this.overflow,
      evictor: this.evictor,
      allocator: this.allocator,
      repairOwn: () => this.repairer.repairOwn(),
      checkAlive: this.checkAlive,
      giveUp: () => this.giveUp(),
      published: () => this.onPublished(),
      busyTimeoutMs,
      nowMs: options.nowMs,
    })
    this.repairer = new Repairer({
      region,
      participants: this.participants,
      frames: this.frames,
      pool: this.pool,
      evictor: this.evictor,
      allocator: this.allocator,
      changes: this.changes,
      snapshots: this.snapshots,
      committer: this.committer,
      latches: this.latches,
      readFragments: (first, transactionId, end) => this.#readFragments(first, transactionId, end),
      giveUp: () => this.giveUp(),
    })
    this.checkpointer = new Checkpointer(
      region,
      this.frames,
      this.evictor,
      this.allocator,
      this.file,
      this.latches.commit,
      this.latches.checkpoint,
      this.participants,
      {
        ring: this.ring,
        settle: () => this.betweenCommits(),
        sync: () => this.log.syncSync(),
        recordCheckpoint: (epoch, position) => {
          this.committer.recordCheckpoint(epoch, position)
          this.log.syncSync()
        },
      },
      busyTimeoutMs,
      () => this.reapDead(),
    )
  }

  readonly checkAlive = (): void => {
    if (this.closed) throw new HyphaError('HYPHA_CLOSED', 'The database has been closed. Open it again')
    if (this.replaced || this.region.state === L.STATE_DEAD) throw new RegionReplaced()
  }

  #readFragments(first: number, transactionId: number, end: number): OperationGatherer {
    this.log.write()
    const reader = new LogReader({
      files: this.options.files,
      directory: this.options.logDirectory,
      databaseId: this.region.identity().databaseId,
      from: first,
      limit: end,
    })
    const gatherer = new OperationGatherer()
    while (reader.next()) {
      const { record } = reader
      if (record.type === RECORD_FRAGMENT && record.transactionId === transactionId) {
        gatherer.add(reader.bytes, record.bodyStart, record.bodyEnd)
      }
    }
    return gatherer
  }

  /** The region cannot go on: the next one to use it builds another (see replacement.ts). */
  giveUp(): void {
    Atomics.store(this.region.control.i32, L.HEADER_STATE_I, L.STATE_DEAD)
  }

  /** With the commit latch held: what an owner threw in the middle of and could not repair itself is finished now. */
  betweenCommits(): void {
    const idle = this.region.control.i32[L.COMMIT_STATE_I] === L.COMMIT_IDLE && this.undo.state === L.UNDO_IDLE
    if (!idle) this.repairer.repairOwn()
  }

  /** Looks for dead participants and repairs what they left. Returns how many. */
  reapDead(): number {
    let reaped = 0
    for (const slot of this.participants.active()) {
      if (!this.participants.claimDead(slot)) continue
      this.repairer.reap(slot)
      reaped++
    }
    return reaped
  }

  /** The thread has gone on to the next generation: its mappings of this one read zeros from now on. */
  abandon(): void {
    this.replaced = true
    this.#gate.closed = true
    void this.log.close()
    this.file.file.close()
    this.region.detach()
  }

  /** Gives back all that this thread holds of the region. */
  leave(): void {
    if (this.closed) return
    this.changes.releaseReserve()
    this.snapshots.close()
    this.closed = true
  }
}
