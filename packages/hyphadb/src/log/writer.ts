/**
 * Brings the ring to disk: writes it into segments, syncs them, tells who waits.
 *
 * One LogWriter per thread. Any number of them, in any processes, work on one log:
 *
 *   write   under the write latch: pwrite of [written, tail), then `written` moves to that tail
 *   sync    under no latch: D = durable, C = written, fdatasync of every segment with a byte in [D, C), durable rises to C
 *
 * Why durable = C is true, whoever wrote what: before D everything is durable already. A byte of [D, C) was in its file
 * before `written` reached C, so before the syncs began, and fdatasync covers all of a file, not what its caller wrote.
 * Every segment that has such a byte is synced, also the old one of a switch that another process made between two of our
 * syncs, because the range begins at D and not at what we know of. Segment headers, names and directories were synced
 * before anything was written behind them. A crash of D's reader between its steps only leaves durable lower.
 *
 * Why a death or a stop in `write` does no harm: `written` moves only when the bytes are in the files, and until then the
 * ring keeps them unchanged; the next holder writes the same bytes to the same places. The latch passes on only from a
 * dead holder, whose last system call has ended. A stopped holder keeps it, `written` stands still, and no segment at or
 * beyond `written` is recycled, so it wakes up to the files that it left.
 *
 * Failures: a write or sync that fails poisons the log for everybody (ring.ts), because the kernel reports a lost page to
 * each open descriptor once and then takes it for clean. For the same reason descriptors are opened one segment ahead:
 * one that is opened after a failure would not be told. What fails before a byte is written (no descriptor free, no room
 * for another segment, write latch busy) poisons nothing.
 */
import { join } from 'node:path'
import { assert } from '../base/assert.js'
import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint, faults } from '../base/fault-points.js'
import { DEFAULT_BUSY_TIMEOUT_MS } from '../base/limits.js'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import type { Lsn } from './record.js'
import { type LogRing, POISON_SYNC_FAILED, POISON_WRITE_FAILED } from './ring.js'
import { type LogLatch, openGate, type Recycled, SegmentAllocator, type WriteGate } from './segment-allocator.js'
import { SEGMENT_HEADER_BYTES, segmentName } from './segments.js'

export interface LogWriterOptions {
  readonly files: FileSystem
  /** The `log` directory. */
  readonly directory: string
  readonly databaseId: Uint8Array
  readonly ring: LogRing
  readonly writeLatch: LogLatch
  /** Taken alone or inside the write latch, never the other way round. */
  readonly allocationLatch: LogLatch
  readonly gate?: WriteGate
  readonly busyTimeoutMs?: number
  readonly sparesMax?: number
}

/** Waiters of one sync: all that came before it began. */
interface Round {
  /** Everything that is waited for lies before. */
  target: Lsn
  waiters: number
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

function newRound(): Round {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { target: 0, waiters: 0, promise, resolve, reject }
}

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

const resolved = Promise.resolve()
/** Turns of the event loop before a busy write latch is asked for by the clock. */
const TURNS_BEFORE_PAUSE = 20
const PAUSE_MS_MAX = 20
/** A resolved write needs so many microtasks until its caller has awaited it through two functions and written again. */
const MICROTASKS_FOR_ONE = 8
const TURN_AT_LEAST_EVERY_MS = 4
/**
 * A disk whose syncs take less on average serves a single waiter on this thread: the way through libuv's pool costs as
 * much again (193 µs a commit against 130), and who waits alone has nothing else under way here as a rule.
 */
const INLINE_SYNC_MS_MAX = 0.4
/** Weight of the newest sync in the average. */
const SYNC_MS_WEIGHT = 1 / 8

export class LogWriter {
  readonly ring: LogRing
  readonly #files: FileSystem
  readonly #directory: string
  readonly #latch: LogLatch
  readonly #gate: WriteGate
  readonly #allocator: SegmentAllocator
  readonly #timeoutMs: number
  readonly #handles = new Map<number, FileHandle>()
  /** Handles that a sync in flight is using: not to be closed under it. */
  readonly #syncing = new Set<FileHandle>()
  /** The round that has not begun, if anybody waits for it. */
  #round: Round | undefined
  #running: Promise<void> | undefined
  #lastWaiters = 0
  #lastTurnMs = 0
  /** What a sync takes, on average; the first goes off this thread. */
  #syncMs = 1
  #closed = false

  constructor(options: LogWriterOptions) {
    this.ring = options.ring
    this.#files = options.files
    this.#directory = options.directory
    this.#latch = options.writeLatch
    this.#gate = options.gate ?? openGate
    this.#timeoutMs = options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS
    this.#allocator = new SegmentAllocator({ ...options, latch: options.allocationLatch })
  }

  /** True when segments are in place for `bytes` more than the tail: under the commit latch, what `reserve` promised. */
  hasRoom(bytes: number): boolean {
    return this.ring.tail + bytes <= this.ring.allocatedEnd
  }

  /**
   * Makes room on disk for what the ring holds and `bytes` more, before the commit point. HYPHA_DISK_FULL leaves
   * everything as it was, and the log usable. Call it without latches; another thread may use the room up meanwhile, so
   * ask `hasRoom` again under the commit latch, and come back here if not.
   */
  reserve(bytes: number): void {
    if (this.hasRoom(bytes)) return
    this.#checkOpen()
    this.ring.checkPoison()
    this.#allocator.ensure(this.ring.tail + bytes, this.#timeoutMs)
  }

  /** Takes back segments wholly below `position`; see SegmentAllocator. */
  recycle(position: Lsn): Recycled {
    this.#checkOpen()
    this.#closeBelow(this.ring.segmentOf(this.ring.durable))
    return this.#allocator.recycle(position, this.#timeoutMs)
  }

  /** Writes what the ring has to the segments; returns how far they reach now. Not durable yet. */
  write(): Lsn {
    this.#checkOpen()
    this.ring.checkPoison()
    if (this.ring.written >= this.ring.tail) return this.ring.written
    this.#latch.acquire(this.#timeoutMs)
    try {
      return this.#writeLatched()
    } finally {
      this.#latch.release()
    }
  }

  /** Makes durable all that is committed, on this thread. */
  syncSync(): void {
    const durable = this.ring.durable
    const claim = this.write()
    if (this.ring.durable < claim) {
      const handles = this.#handlesFor(durable, claim)
      this.#gate.enter()
      try {
        for (const handle of handles) handle.sync()
      } catch (error) {
        throw this.#poison(POISON_SYNC_FAILED, error)
      } finally {
        this.#gate.leave()
      }
      this.#claim(claim)
    }
    this.#settle()
  }

  /** Makes durable all that is committed now, off this thread. */
  sync(): Promise<void> {
    return this.whenDurable(this.ring.tail)
  }

  /**
   * Resolves when everything before `position`, which is committed, is durable. All who ask before the next sync begins
   * share it and its promise; one sync is in flight at a time.
   */
  whenDurable(position: Lsn): Promise<void> {
    if (position <= this.ring.durable) return resolved
    if (this.#closed) return Promise.reject(new HyphaError('HYPHA_CLOSED', 'The log has been closed'))
    assert(position <= this.ring.tail, 'one waits for what is committed')
    this.#round ??= newRound()
    this.#round.waiters++
    if (position > this.#round.target) this.#round.target = position
    this.#running ??= this.#run()
    return this.#round.promise
  }

  /** Waits for the sync in flight and closes the files. What is committed and not synced stays so. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    for (const handle of this.#handles.values()) handle.close()
    this.#handles.clear()
  }

  /** Rounds, one after the other, until nobody waits. */
  async #run(): Promise<void> {
    await this.#gather()
    while (this.#round !== undefined) {
      const round = this.#round
      this.#round = undefined
      try {
        await this.#syncRound(round)
        round.resolve()
      } catch (error) {
        round.reject(error)
      }
      this.#lastWaiters = round.waiters
      await this.#gather()
    }
    this.#running = undefined
  }

  /**
   * Those who commit in this turn, or are woken together by the round before, go into one round. A lone writer who awaits
   * one write after the other is not made to wait for a whole turn of the event loop each time, as long as the loop gets
   * one often enough.
   */
  async #gather(): Promise<void> {
    const now = performance.now()
    if (this.#lastWaiters === 1 && now - this.#lastTurnMs < TURN_AT_LEAST_EVERY_MS) {
      for (let i = 0; i < MICROTASKS_FOR_ONE; i++) await resolved
      return
    }
    await nextTurn()
    this.#lastTurnMs = performance.now()
  }

  async #syncRound({ target, waiters }: Round): Promise<void> {
    const durable = this.ring.durable
    if (durable >= target) return
    const claim = await this.#writeAsync()
    if (this.ring.durable >= target) return
    const handles = this.#handlesFor(durable, claim)
    const inline = waiters === 1 && this.#syncMs <= INLINE_SYNC_MS_MAX
    const started = performance.now()
    // Not counted: what it makes durable was written inside the gate.
    this.#gate.check()
    for (const handle of handles) this.#syncing.add(handle)
    try {
      if (inline) for (const handle of handles) handle.sync()
      else for (const handle of handles) await handle.syncAsync()
    } catch (error) {
      throw this.#poison(POISON_SYNC_FAILED, error)
    } finally {
      for (const handle of handles) this.#syncing.delete(handle)
    }
    this.#syncMs += (performance.now() - started - this.#syncMs) * SYNC_MS_WEIGHT
    this.#claim(claim)
  }

  /** As `write`, but lets the event loop go on while another thread writes. */
  async #writeAsync(): Promise<Lsn> {
    this.ring.checkPoison()
    const target = this.ring.tail
    const deadline = performance.now() + this.#timeoutMs
    for (let turn = 0; !this.#latch.tryAcquire(); turn++) {
      if (turn < TURNS_BEFORE_PAUSE) await nextTurn()
      else await pause(Math.min(PAUSE_MS_MAX, turn - TURNS_BEFORE_PAUSE + 1))
      // Whoever has it may be writing our bytes too.
      if (this.ring.written >= target) return this.ring.written
      if (turn >= TURNS_BEFORE_PAUSE && this.#acquireBriefly(deadline)) break
    }
    try {
      return this.#writeLatched()
    } finally {
      this.#latch.release()
    }
  }

  /**
   * One short wait in the latch itself, which is where a dead holder is replaced. False while a living one goes on, and
   * HYPHA_BUSY once it has outlasted the deadline.
   */
  #acquireBriefly(deadline: number): boolean {
    try {
      this.#latch.acquire(1)
      return true
    } catch (error) {
      if (isHyphaError(error, 'HYPHA_BUSY') && performance.now() < deadline) return false
      throw error
    }
  }

  /** Requires the write latch. */
  #writeLatched(): Lsn {
    const { ring } = this
    const from = ring.written
    const to = ring.tail
    if (from >= to) return from
    // What may fail without harm comes first.
    this.#allocator.ensure(to, this.#timeoutMs)
    const handles = this.#handlesFor(from, to)
    point('log-write-begin')
    this.#gate.enter()
    try {
      copyRingToSegments(ring, from, to, handles)
    } catch (error) {
      throw this.#poison(POISON_WRITE_FAILED, error)
    } finally {
      this.#gate.leave()
    }
    point('log-write-done')
    ring.advanceWritten(to)
    return to
  }

  /** Raises the durable position after syncs that covered it; refuses when anybody met a failure meanwhile. */
  #claim(position: Lsn): void {
    // A thread that went on to another region meanwhile has no words here any more; what was synced is in the log.
    this.#gate.check()
    this.ring.checkPoison()
    point('log-sync-done')
    this.ring.raiseDurable(position)
    this.#closeBelow(this.ring.segmentOf(this.ring.durable))
  }

  /** A synchronous sync may have served those who wait for the round that has not begun. */
  #settle(): void {
    const round = this.#round
    if (round === undefined || round.target > this.ring.durable) return
    this.#round = undefined
    round.resolve()
  }

  /** Open handles of the segments with a byte in [from, to), in order; opens one ahead. */
  #handlesFor(from: Lsn, to: Lsn): FileHandle[] {
    const { ring } = this
    const handles: FileHandle[] = []
    const last = ring.segmentOf(to - 1)
    for (let segment = ring.segmentOf(from); segment <= last; segment++) {
      const handle = this.#handle(segment)
      if (handle !== undefined) handles.push(handle)
    }
    if (ring.segmentStart(last + 2) <= ring.allocatedEnd && !this.#handles.has(last + 1)) {
      try {
        this.#handle(last + 1)
      } catch (error) {
        // Only a precaution: it is opened again, and then must be, when it is needed.
        if (!isHyphaError(error, 'HYPHA_TOO_MANY_FILES')) throw error
      }
    }
    return handles
  }

  /** Undefined when the segment has been recycled meanwhile, which says that all of it is durable. */
  #handle(segment: number): FileHandle | undefined {
    const known = this.#handles.get(segment)
    if (known !== undefined) return known
    try {
      const handle = this.#files.open(join(this.#directory, segmentName(segment)))
      this.#handles.set(segment, handle)
      return handle
    } catch (error) {
      if (isHyphaError(error, 'HYPHA_NOT_FOUND') && this.ring.durable >= this.ring.segmentStart(segment + 1))
        return undefined
      throw error
    }
  }

  #closeBelow(segment: number): void {
    for (const [number, handle] of this.#handles) {
      if (number >= segment || this.#syncing.has(handle)) continue
      this.#handles.delete(number)
      handle.close()
    }
  }

  #poison(reason: number, cause: unknown): HyphaError {
    this.ring.setPoison(reason)
    const what = reason === POISON_SYNC_FAILED ? 'Syncing' : 'Writing'
    const detail = cause instanceof Error ? cause.message : String(cause)
    return new HyphaError(
      'HYPHA_POISONED',
      `${what} the log failed (${detail}), so nothing more is written. Mend the disk, close the database everywhere, and open it again`,
      { cause },
    )
  }

  #checkOpen(): void {
    if (this.#closed) throw new HyphaError('HYPHA_CLOSED', 'The log has been closed')
  }
}

/**
 * Writes the ring's bytes of [from, to) into the segments, `handles` in order from the one that holds `from`. Where it
 * costs no further call the end mark behind `to` goes along. A killed process may have written any part of it before.
 */
export function copyRingToSegments(ring: LogRing, from: Lsn, to: Lsn, handles: readonly FileHandle[]): void {
  const first = ring.segmentOf(from)
  for (let position = from; position < to; ) {
    const segment = ring.segmentOf(position)
    const start = ring.segmentStart(segment)
    const end = Math.min(to, start + ring.segmentPayload, position + ring.contiguousFrom(position))
    const marked = end === to && end < start + ring.segmentPayload && end < position + ring.contiguousFrom(position)
    const handle = handles[segment - first]
    assert(handle !== undefined, 'a segment that is written to has not been recycled')
    const length = end - position + (marked ? 1 : 0)
    handle.write(ring.memory.buffer, ring.offsetOf(position), length, SEGMENT_HEADER_BYTES + position - start)
    point('log-write-piece')
    position = end
  }
}

function point(name: string): void {
  if (faults.armed) faultPoint(name)
}
