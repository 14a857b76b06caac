/**
 * Puts segments in place ahead of the log's end, and takes them back when nobody needs them.
 *
 * Thread safety: everything here happens under the allocation latch, which is taken with the write latch held or with
 * none. A holder may die between any two steps; each step leaves names and headers of which the invariants in segments.ts
 * hold, and the next holder goes on:
 *
 *   spare:  sync directory -> header -> sync file -> rename -> sync directory -> allocatedEnd
 *   new:    create new.tmp -> allocate -> header -> sync file -> rename -> sync directory -> allocatedEnd
 *   recycle: rename to spare-… (or unlink) -> sync directory
 *
 * Invariants
 * 1. allocatedEnd covers a segment only after its header, its name and its space on disk are durable. What is logged below
 *    allocatedEnd cannot meet a full disk.
 * 2. A segment is recycled only when everything in it is durable: whoever holds the write latch, also one that was stopped
 *    in it for an hour, writes at or beyond `written` and so into no recycled file.
 */
import { join } from 'node:path'
import { assert } from '../base/assert.js'
import { isHyphaError } from '../base/errors.js'
import { faultPoint, faults } from '../base/fault-points.js'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import type { Lsn } from './record.js'
import { type LogRing, POISON_SYNC_FAILED } from './ring.js'
import {
  encodeSegmentHeader,
  isSpareName,
  listSegments,
  readSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type Segment,
  type SegmentHeader,
  segmentName,
  spareName,
  TEMPORARY_NAME,
} from './segments.js'

/** What the memory layer's latches offer. `acquire` throws HYPHA_BUSY when a living holder outlasts the timeout. */
export interface LogLatch {
  tryAcquire(): boolean
  acquire(timeoutMs: number): void
  release(): void
}

/**
 * Stands before every change of files. `enter` counts this participant as writing, then looks whether the generation is
 * dead, and if so takes the count back and throws: so a process that wakes after a generation switch writes nothing.
 */
export interface WriteGate {
  enter(): void
  leave(): void
  /** Throws as `enter` does, and counts nothing. */
  check(): void
}

export const openGate: WriteGate = { enter: () => {}, leave: () => {}, check: () => {} }

export interface SegmentAllocatorOptions {
  readonly files: FileSystem
  readonly directory: string
  readonly databaseId: Uint8Array
  readonly ring: LogRing
  readonly latch: LogLatch
  readonly gate?: WriteGate
  /** Recycled files that are kept for later; more are deleted. */
  readonly sparesMax?: number
}

const DEFAULT_SPARES_MAX = 4

export interface Recycled {
  readonly spared: number
  readonly deleted: number
}

export class SegmentAllocator {
  readonly #files: FileSystem
  readonly #directory: string
  readonly #databaseId: Uint8Array
  readonly #ring: LogRing
  readonly #latch: LogLatch
  readonly #gate: WriteGate
  readonly #sparesMax: number

  constructor(options: SegmentAllocatorOptions) {
    this.#files = options.files
    this.#directory = options.directory
    this.#databaseId = options.databaseId
    this.#ring = options.ring
    this.#latch = options.latch
    this.#gate = options.gate ?? openGate
    this.#sparesMax = options.sparesMax ?? DEFAULT_SPARES_MAX
  }

  /** Makes sure that segments are in place up to `position`. HYPHA_DISK_FULL changes nothing and poisons nothing. */
  ensure(position: Lsn, timeoutMs: number): void {
    if (this.#ring.allocatedEnd >= position) return
    this.#latched(timeoutMs, () => {
      while (this.#ring.allocatedEnd < position) this.#allocateNext()
    })
  }

  /**
   * Takes back segments wholly below `position` (and what earlier runs left void). Never goes beyond the durable position.
   * The caller has made sure that no checkpoint, reader or peer needs them.
   */
  recycle(position: Lsn, timeoutMs: number): Recycled {
    return this.#latched(timeoutMs, () => this.#recycle(Math.min(position, this.#ring.durable)))
  }

  #latched<T>(timeoutMs: number, work: () => T): T {
    this.#latch.acquire(timeoutMs)
    try {
      this.#ring.checkPoison()
      this.#gate.enter()
      try {
        return work()
      } finally {
        this.#gate.leave()
      }
    } finally {
      this.#latch.release()
    }
  }

  #allocateNext(): void {
    const ring = this.#ring
    const start = ring.allocatedEnd
    const header: SegmentHeader = {
      databaseId: this.#databaseId,
      number: ring.segmentOf(start),
      start,
      base: ring.base,
      firstSegment: ring.firstSegment,
      payload: ring.segmentPayload,
      saltLow: ring.saltLow,
      saltHigh: ring.saltHigh,
    }
    if (!this.#adopt(header)) placeSegment(this.#files, this.#directory, header)
    point('log-allocate-named')
    this.#syncDirectory()
    point('log-allocate-synced')
    ring.advanceAllocatedEnd(start + header.payload)
  }

  /** True when the segment stands already: somebody died after naming it. */
  #adopt(header: SegmentHeader): boolean {
    const path = join(this.#directory, segmentName(header.number))
    if (!this.#files.exists(path)) return false
    const handle = this.#files.open(path, { readOnly: true })
    try {
      const found = readSegmentHeader(handle, this.#databaseId)
      assert(
        found.start === header.start && found.saltLow === header.saltLow && found.saltHigh === header.saltHigh,
        'a segment that stands ahead is of this run',
      )
      return true
    } finally {
      handle.close()
    }
  }

  #recycle(position: Lsn): Recycled {
    const names = this.#files.list(this.#directory)
    let spares = names.filter(isSpareName).length
    const list = listSegments(this.#files, this.#directory, this.#databaseId)
    let spared = 0
    let deleted = 0
    for (const segment of [...list.segments, ...list.voided]) {
      if (!this.#isDone(segment, position)) continue
      point('log-recycle')
      if (spares < this.#sparesMax && segment.header.payload === this.#ring.segmentPayload) {
        this.#files.rename(segment.path, join(this.#directory, spareName(segment.header.number)))
        spares++
        spared++
      } else {
        this.#files.unlink(segment.path)
        deleted++
      }
    }
    if (spared + deleted > 0) this.#syncDirectory()
    return { spared, deleted }
  }

  #isDone(segment: Segment, position: Lsn): boolean {
    const { header, end } = segment
    // Ahead of this run's end nothing is done, whatever the position says.
    if (header.firstSegment === this.#ring.firstSegment) return end <= position
    return end <= header.start || end <= position
  }

  /** A failed sync may have dropped what it was to save, and the next one would not say so. */
  #syncDirectory(): void {
    try {
      this.#files.syncDirectory(this.#directory)
    } catch (error) {
      this.#ring.setPoison(POISON_SYNC_FAILED)
      throw error
    }
  }
}

function point(name: string): void {
  if (faults.armed) faultPoint(name)
}

/**
 * Makes a segment under its final name, out of a spare or a new file, header synced. The caller syncs the directory before
 * anything is written into it. A failure leaves no segment behind.
 */
export function placeSegment(files: FileSystem, directory: string, header: SegmentHeader): void {
  const size = SEGMENT_HEADER_BYTES + header.payload
  const spare = takeSpare(files, directory, size)
  const path = spare ?? join(directory, TEMPORARY_NAME)
  try {
    const handle = files.open(path, { create: spare === undefined ? 'missing' : 'never' })
    try {
      if (spare === undefined) prepareNew(handle, size)
      point('log-allocate-space')
      writeHeader(handle, header)
      point('log-allocate-header')
      handle.sync()
    } finally {
      handle.close()
    }
    files.rename(path, join(directory, segmentName(header.number)))
  } catch (error) {
    // Half of a file is of no use; on a full disk its space is.
    if (spare === undefined) files.unlink(path)
    throw error
  }
}

/** The path of a spare of the right size; its old name is gone for good. */
function takeSpare(files: FileSystem, directory: string, size: number): string | undefined {
  for (const name of files.list(directory)) {
    if (!isSpareName(name)) continue
    const path = join(directory, name)
    const handle = openIfThere(files, path)
    if (handle === undefined) continue
    const fits = handle.size() === size
    handle.close()
    if (!fits) continue
    files.syncDirectory(directory)
    return path
  }
  return undefined
}

function openIfThere(files: FileSystem, path: string): FileHandle | undefined {
  try {
    return files.open(path, { readOnly: true })
  } catch (error) {
    if (isHyphaError(error, 'HYPHA_NOT_FOUND')) return undefined
    throw error
  }
}

/** Space for the whole file, and zeros in it: a rest of an earlier attempt may be there. */
function prepareNew(handle: FileHandle, size: number): void {
  handle.truncate(0)
  handle.allocate(0, size)
}

/** The header, and zeros where the first record will be: an end mark. */
function writeHeader(handle: FileHandle, header: SegmentHeader): void {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES + Math.min(header.payload, SEGMENT_HEADER_BYTES))
  encodeSegmentHeader(header).copy(bytes)
  handle.write(bytes, 0, bytes.length, 0)
}
