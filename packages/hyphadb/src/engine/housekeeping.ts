/**
 * Housekeeping: everything that must happen and that nobody asks for. In short sections, by the elected housekeeper (a
 * worker thread of one of the processes, see housekeeper.ts); ghosts by the thread that made them.
 *
 * | section | keeps in bounds |
 * |---|---|
 * | reap | what the dead hold |
 * | flush log | the time until an unawaited commit is on disk |
 * | trim | version ring, kept versions |
 * | clean pages | the wait of who needs a frame |
 * | checkpoint, recycle | recovery time, log, freed blocks |
 * | ghosts, dropped tables | pages |
 * | shrink | the data file |
 *
 * Thread safety: any number of threads may run any section; each takes the latches that it needs, briefly.
 */
import { isHyphaError } from '../base/errors.js'
import * as L from '../memory/layout.js'
import { VERSION_OVERFLOW } from '../memory/version-ring.js'
import { BLOCK_FREE } from '../pages/allocator.js'
import { NewestReader } from '../txn/reading.js'
import { CATALOG_TABLE } from '../txn/trees.js'
import { catalogTable, droppedTables } from './catalog.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'
import { HousekeeperThread } from './housekeeper.js'
import type { ResolvedOptions } from './options.js'

const TICK_MS = 100
const NAME_CHECK_MS = 1000
const GHOSTS_MAX = 4096
const GHOSTS_STEP = 64
/** Share of dirty frames above which pages are written ahead of need, and how many in one section. */
const DIRTY_SHARE = 0.25
const CLEAN_STEP = 128
/** How long one section looks at kept versions, with the commit latch free in between. */
const TRIM_MS_MAX = 20
/** How often it finds the latch taken before it leaves the rest for later. */
const TRIM_PATIENCE = 100
/** With nothing else to trigger one, a checkpoint follows changes after this time. */
const CHECKPOINT_IDLE_MS = 60_000
const DROPPED_LOOK_EVERY = 16
const DROPPED_ROWS_STEP = 2000
const SHRINK_MIN_BLOCKS = 256
const SHRINK_STEP = 256

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

export class Housekeeping {
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #ghosts = new Map<string, { tableId: number; key: Buffer }>()
  readonly #newest: NewestReader
  #thread: HousekeeperThread | undefined
  #timer: NodeJS.Timeout | undefined
  #checkpointing: Promise<void> | undefined
  #notAwaited = false
  #lastFlush = 0
  #lastNameCheck = 0
  #nextAttempt = 0
  #lastCheckpoint = performance.now()
  #cleanHand = 0
  #sweepTable = 0
  #sweepKey: Buffer = Buffer.alloc(0)
  #mayHaveDropped = true
  #droppedLook = 0
  #dropping = { tableId: 0, from: Buffer.alloc(0), done: false }
  #stopped = false

  constructor(
    readonly core: Core,
    readonly paths: DatabasePaths,
    readonly options: ResolvedOptions,
    /** Brings this thread to the next generation. */
    readonly goOn: () => void,
  ) {
    this.#i32 = core.region.control.i32
    this.#f64 = core.region.control.f64
    this.#newest = new NewestReader({
      trees: core.trees,
      overflow: core.overflow,
      snapshots: core.snapshots,
      checkAlive: core.checkAlive,
    })
    core.trees.onGhost = (tableId, pageId, key) => this.#noteGhost(tableId, pageId, key)
    core.onPublished = () => {
      if (this.#ghosts.size < GHOSTS_MAX / 2) return
      try {
        this.#purgeGhosts()
      } catch (error) {
        // The commit that this follows stands all the same; whatever it was shows where it is needed.
        if (!isHyphaError(error)) throw error
      }
    }
  }

  start(): void {
    if (this.options.housekeeping === 'none') return
    this.#thread = new HousekeeperThread(this.core, this.paths, this.options)
    this.#thread.ensure()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== undefined) clearInterval(this.#timer)
    await this.#checkpointing?.catch(() => undefined)
    await this.#thread?.stop()
  }

  /** A commit that nobody waits for: the housekeeper brings it to disk; should there be none just now, this thread does. */
  committedNotAwaited(): void {
    this.#notAwaited = true
  }

  tableDropped(): void {
    this.#mayHaveDropped = true
  }

  #tick(): void {
    try {
      if (this.core.region.state === L.STATE_DEAD) {
        this.#leaveDead()
        return
      }
      this.#thread?.ensure()
      this.#purgeGhosts()
      if (this.#notAwaited && this.core.ring.durable < this.core.ring.tail) {
        this.core.log.sync().catch(() => undefined) // whoever waits for durability is told
      }
      this.#notAwaited = false
    } catch (error) {
      // A housekeeping section that fails is tried again at the next tick; what it could not do shows where it is needed.
      // A fault of ours in here must not end the application, whose own calls will meet it if it lasts.
      if (!isHyphaError(error)) process.emitWarning(error instanceof Error ? error : String(error))
    }
  }

  /** A thread that asks for nothing goes on as well: only who has the old region mapped can build the next one. */
  #leaveDead(): void {
    const now = performance.now()
    if (now < this.#nextAttempt) return
    try {
      this.goOn()
    } finally {
      // Not again at once when it failed: it takes as long as a stopped process is waited for.
      const ended = performance.now()
      this.#nextAttempt = ended + 4 * (ended - now)
    }
  }

  /** One round of all sections, synchronously. */
  round(): void {
    const { core } = this
    if (core.closed || core.region.state !== L.STATE_LIVE) return
    core.reapDead()
    this.#checkNames()
    if (core.ring.poison !== 0) return
    this.#flushLog()
    this.#trim()
    this.#purgeGhosts()
    this.#sweepGhosts()
    this.#freeDropped()
    core.allocator.sweepFreed()
    this.#cleanPages()
    if (this.checkpointIsDue()) this.checkpointSync()
    this.#shrink()
  }

  /** A region whose name has vanished (systemd's RemoveIPC, a cleaner) can be joined by nobody: it is replaced. */
  #checkNames(): void {
    const now = performance.now()
    if (now - this.#lastNameCheck < NAME_CHECK_MS) return
    this.#lastNameCheck = now
    if (!this.core.region.nameStands()) this.core.giveUp()
  }

  #flushLog(): void {
    const now = performance.now()
    if (this.core.ring.durable >= this.core.ring.tail || now - this.#lastFlush < this.options.flushIntervalMs * 0.8)
      return
    this.#lastFlush = now
    this.core.log.syncSync()
  }

  /** Runs `work` with the commit latch, between commits; skipped when somebody has it. */
  #latched(work: () => void): boolean {
    const { core } = this
    const { commit } = core.latches
    core.changes.reservePages(8)
    if (!commit.tryAcquire()) {
      const { owner } = commit
      if (owner !== 0) commit.recoverFromDeath(owner)
      return false
    }
    try {
      if ((this.#i32[L.COMMIT_STATE_I] as number) !== L.COMMIT_IDLE || core.undo.state !== L.UNDO_IDLE)
        core.repairer.repairOwn()
      work()
      return true
    } catch (error) {
      core.repairer.repairOwn()
      throw error
    } finally {
      commit.release()
    }
  }

  #trim(): void {
    const { versionRing, versions, snapshots } = this.core
    const kept = (this.#f64[L.VERSION_SPILL_HEAD_F] as number) > 0
    if (versionRing.used === 0 && !kept) return
    this.#latched(() => {
      if (versionRing.used > 0) versions.trim()
      else snapshots.refreshFloor()
    })
    let done = !kept
    const deadline = performance.now() + TRIM_MS_MAX
    for (let busy = 0; !done && busy < TRIM_PATIENCE && performance.now() < deadline; ) {
      const ran = this.#latched(() => {
        done = versions.trimKept()
      })
      if (!ran) busy++
    }
  }

  // Ghosts

  #noteGhost(tableId: number, pageId: number, key: Uint8Array): void {
    if (this.#ghosts.size >= GHOSTS_MAX) {
      Atomics.store(this.#i32, L.GHOST_SWEEP_I, 1)
      return
    }
    const name = `${tableId}:${pageId}`
    if (!this.#ghosts.has(name)) this.#ghosts.set(name, { tableId, key: Buffer.from(key) })
  }

  #purgeGhosts(): void {
    if (this.#ghosts.size === 0 || this.options.readOnly) return
    this.#latched(() => {
      this.core.snapshots.refreshFloor()
      let steps = GHOSTS_STEP
      for (const [name, { tableId, key }] of this.#ghosts) {
        if (steps-- === 0) break
        this.#ghosts.delete(name)
        const tree = this.core.trees.of(tableId)
        if (tree === undefined) continue
        if (tree.purge(key, key.length) > 0) this.#ghosts.set(name, { tableId, key })
      }
    })
  }

  /** Ghosts that nobody remembers (their maker died, or made too many): a slow walk over all tables. */
  #sweepGhosts(): void {
    if ((this.#i32[L.GHOST_SWEEP_I] as number) === 0) return
    const tables = this.core.trees.allRoots().filter(({ tableId }) => tableId > CATALOG_TABLE + 2)
    const table = tables[this.#sweepTable]
    if (table === undefined) {
      this.#sweepTable = 0
      Atomics.store(this.#i32, L.GHOST_SWEEP_I, 0)
      return
    }
    this.#latched(() => {
      const next = this.core.trees.of(table.tableId)?.sweep(this.#sweepKey, 16)
      this.#sweepKey = next ?? Buffer.alloc(0)
      if (next === undefined) this.#sweepTable++
    })
  }

  /** Frees the pages of dropped tables, a part at a time. */
  #freeDropped(): void {
    if (!this.#mayHaveDropped && ++this.#droppedLook % DROPPED_LOOK_EVERY !== 0) return
    const dropped = droppedTables(this.#newest)
    this.#mayHaveDropped = dropped.length > 0
    const first = dropped[0]
    if (first === undefined) return
    let done = false
    this.#latched(() => {
      const sequence = this.core.committer.visible
      // Readers with a snapshot from before the drop still read it.
      if (this.core.snapshots.oldest() < sequence) return
      if (!this.#ownLargeValues(first.id, sequence)) return
      done = this.core.trees.remove(first.id, 256, () => {})
    })
    if (!done) return
    this.core.committer.commit(
      [{ tableId: catalogTable.id, key: first.key, value: undefined, derived: false }],
      undefined,
    )
  }

  /**
   * Before a table's rows go, its large values get another owner (see txn/versions.ts), who frees them. A part at a time;
   * true when all have one. A death begins it anew, which does no harm.
   */
  #ownLargeValues(tableId: number, sequence: number): boolean {
    if (this.#dropping.tableId !== tableId) this.#dropping = { tableId, from: Buffer.alloc(0), done: false }
    const dropping = this.#dropping
    if (dropping.done) return true
    const cursor = this.core.trees.of(tableId)?.cursor({ gte: dropping.from }, Number.MAX_SAFE_INTEGER)
    let rows = 0
    while (cursor?.next() === true) {
      if (rows++ === DROPPED_ROWS_STEP) {
        dropping.from = Buffer.from(cursor.keyBuffer.subarray(0, cursor.keyLength))
        cursor.close()
        return false
      }
      if ((cursor.flags & VERSION_OVERFLOW) === 0) continue
      this.core.versions.own({
        tableId,
        key: Buffer.from(cursor.keyBuffer.subarray(0, cursor.keyLength)),
        sequence: cursor.sequence,
        supersededBy: sequence,
        flags: cursor.flags,
        reference: Buffer.from(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)),
      })
    }
    cursor?.close()
    dropping.done = true
    return true
  }

  // Pages

  /** Writes dirty pages in advance while many are dirty, so that a miss finds a clean frame. */
  #cleanPages(): void {
    const { evictor, frames } = this.core
    const ready = this.#i32[L.FRAMES_READY_I] as number
    if (evictor.dirtyCount < ready * DIRTY_SHARE) return
    let step = CLEAN_STEP
    for (let looked = 0; looked < ready && step > 0; looked++) {
      this.#cleanHand = (this.#cleanHand + 1) % ready
      const frame = this.#cleanHand
      if ((frames.dirty[frame] as number) === 0 || ((frames.ref[frame] as number) & 1) !== 0) continue
      if (evictor.flush(frame)) step--
    }
  }

  get #logSinceCheckpoint(): number {
    return this.core.ring.tail - (this.#f64[L.CHECKPOINT_DURABLE_REDO_F] as number)
  }

  /** For the last one to leave: with no snapshot left, no old version is needed. */
  dropVersions(): void {
    for (let round = 0; round < 1000; round++) {
      let done = false
      const ran = this.#latched(() => {
        this.core.versions.trim()
        done = this.core.versions.trimKept() && this.core.versions.keptBytes === 0
      })
      if (ran && done) return
    }
  }

  checkpointIsWorthwhile(): boolean {
    return this.core.evictor.dirtyCount > 0 || this.#logSinceCheckpoint > 4096 || this.core.checkpointer.inProgress
  }

  checkpointIsDue(): boolean {
    if (this.#stopped || this.#checkpointing !== undefined) return false
    if ((this.#i32[L.CHECKPOINT_REQUESTED_I] as number) !== 0) return true
    if (this.core.checkpointer.inProgress) return true
    const { framesMax } = this.core.region.geometry
    if (this.#logSinceCheckpoint > this.options.checkpointBytes) return true
    if (this.core.evictor.dirtyCount > framesMax * 0.6) return true
    return performance.now() - this.#lastCheckpoint > CHECKPOINT_IDLE_MS && this.core.evictor.dirtyCount > 0
  }

  /** A checkpoint without giving way: for the housekeeper's thread. False: somebody else is at it. */
  checkpointSync(): boolean {
    const { checkpoint } = this.core.latches
    if (!checkpoint.tryAcquire()) {
      const { owner } = checkpoint
      if (owner !== 0) checkpoint.recoverFromDeath(owner)
      return false
    }
    try {
      for (const _ of this.core.checkpointer.run());
      this.#afterCheckpoint()
      return true
    } finally {
      checkpoint.release()
    }
  }

  /** A checkpoint of all that is committed now. */
  checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpoint().finally(() => {
      this.#checkpointing = undefined
    })
    return this.#checkpointing
  }

  async #checkpoint(): Promise<void> {
    const { checkpoint } = this.core.latches
    const deadline = performance.now() + this.options.busyTimeoutMs
    while (!checkpoint.tryAcquire()) {
      const { owner } = checkpoint
      if (owner !== 0 && !checkpoint.recoverFromDeath(owner) && performance.now() > deadline)
        throw checkpoint.busy(owner)
      await pause(2)
    }
    try {
      // The one in progress, if any, began before this call.
      const rounds = this.core.checkpointer.inProgress ? 2 : 1
      for (let round = 0; round < rounds; round++) {
        for (const _ of this.core.checkpointer.run()) await turn()
      }
      this.#afterCheckpoint()
    } finally {
      checkpoint.release()
    }
  }

  #afterCheckpoint(): void {
    this.#lastCheckpoint = performance.now()
    Atomics.store(this.#i32, L.CHECKPOINT_REQUESTED_I, 0)
    this.core.log.recycle(this.#f64[L.CHECKPOINT_DURABLE_REDO_F] as number)
    this.#truncate()
  }

  // The data file

  /** Gives free blocks at the file's end back to the file system. */
  #truncate(): void {
    const { allocator, file } = this.core
    allocator.exclusively(() => {
      const limit = this.#i32[L.BLOCK_LIMIT_I] as number
      let end = this.#usedEnd()
      // Some room stays, so that a steady load does not shorten and lengthen the file all the time.
      end = Math.min(limit, end + Math.max(SHRINK_MIN_BLOCKS, end >> 3))
      if (limit - end < SHRINK_MIN_BLOCKS) return
      Atomics.store(this.#i32, L.BLOCK_LIMIT_I, end)
      this.#i32[L.BLOCKS_FREE_I] = Math.max(0, allocator.freeBlocks - (limit - end))
      file.change(handle => handle.truncate(end * file.blockBytes))
    })
  }

  /** Behind the last block in use. */
  #usedEnd(): number {
    const { blockState } = this.core.region
    let end = this.#i32[L.BLOCK_LIMIT_I] as number
    while (end > this.core.file.firstBlock && (blockState[end - 1] as number) === BLOCK_FREE) end--
    return end
  }

  /** With more than half of the file free: pages in its last part are made dirty, so that they are written further down. */
  #shrink(): void {
    const { allocator, file, pool, frames } = this.core
    const limit = this.#i32[L.BLOCK_LIMIT_I] as number
    if (allocator.checkpointInProgress || limit < SHRINK_MIN_BLOCKS * 4 || allocator.freeBlocks < limit >> 1) return
    const { blockOf, pageState } = this.core.region
    const end = this.#usedEnd()
    const from = end - Math.max(SHRINK_STEP, end >> 3)
    const pages: number[] = []
    const pageLimit = this.#i32[L.PAGE_LIMIT_I] as number
    for (let page = 1; page < pageLimit && pages.length < SHRINK_STEP; page++) {
      const state = pageState[page] as number
      if ((blockOf[page] as number) >= from && state >= 1 && state <= 3) pages.push(page)
    }
    if (pages.length === 0) {
      if ((this.#i32[L.BLOCK_HINT_I] as number) > from) this.#i32[L.BLOCK_HINT_I] = file.firstBlock
      return
    }
    this.#i32[L.BLOCK_HINT_I] = file.firstBlock
    for (const page of pages) {
      pool.fix(page)
      this.#latched(() => {
        if ((blockOf[page] as number) < from || (pageState[page] as number) > 3) return
        const frame = pool.lock(page)
        const version = pool.memoryOf(frame).i32[pool.baseOf(frame) >> 2] as number
        if ((frames.dirty[frame] as number) === 0) {
          frames.epoch[frame] = this.#i32[L.EPOCH_I] as number
          frames.dirty[frame] = version | 1
          Atomics.add(this.#i32, L.DIRTY_COUNT_I, 1)
        }
        Atomics.store(frames.state, frame, 1)
      })
    }
    Atomics.store(this.#i32, L.CHECKPOINT_REQUESTED_I, 1)
  }
}
