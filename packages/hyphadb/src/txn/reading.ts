/**
 * Reading tables at a sequence. What snapshots, transactions and "the newest state" have in common.
 *
 * A reader without a snapshot takes the newest sequence at each call. If the version that it would need is given up just
 * then (a commit published, and the ring trimmed, in the middle of its read), it looks again at the sequence that is
 * newest by now.
 */
import { HyphaError, isHyphaError } from '../base/errors.js'
import type { BTree } from '../index/b-tree.js'
import { ROW_OVERFLOW } from '../index/node-layout.js'
import type { OverflowValues } from '../index/overflow.js'
import type { TreeCursor } from '../index/tree-cursor.js'
import type { Snapshots } from '../memory/snapshots.js'
import type { Cursor, KeyRange, Reader, Table } from './api.js'
import type { Trees } from './trees.js'

const NEWEST_ATTEMPTS = 10_000
const EMPTY = Buffer.alloc(0)

export interface ReadParts {
  trees: Trees
  overflow: OverflowValues
  snapshots: Snapshots
  /** Throws when the database is closed or its region has been replaced. */
  checkAlive: () => void
}

export function tooOld(): HyphaError {
  return new HyphaError(
    'HYPHA_SNAPSHOT_TOO_OLD',
    'The versions that this snapshot needs were given up to keep memory and disk bounded. Read again from a new snapshot',
  )
}

/** Finds rows and values at a given sequence. The base of every reader. */
export abstract class TableReader implements Reader {
  buffer: Buffer = EMPTY
  valueStart = 0
  valueEnd = 0

  constructor(readonly parts: ReadParts) {}

  abstract get(table: Table, key: Uint8Array): Buffer | undefined
  abstract find(table: Table, key: Uint8Array): boolean
  abstract range(table: Table, range: KeyRange): Cursor
  abstract count(table: Table, range: KeyRange): number

  protected getAt(table: Table, key: Uint8Array, sequence: number): Buffer | undefined {
    const tree = this.parts.trees.of(table.id)
    if (tree === undefined) return undefined
    const value = tree.get(key, key.length, sequence)
    if (value === undefined || (tree.flags & ROW_OVERFLOW) === 0) return value
    return this.parts.overflow.read(value)
  }

  protected findAt(table: Table, key: Uint8Array, sequence: number): boolean {
    const tree = this.parts.trees.of(table.id)
    if (tree === undefined || !tree.lookup(key, key.length, sequence)) return false
    if ((tree.flags & ROW_OVERFLOW) === 0) {
      this.buffer = tree.buffer
      this.valueStart = tree.valueStart
      this.valueEnd = tree.valueEnd
      return true
    }
    this.buffer = this.parts.overflow.read(Buffer.from(tree.buffer.subarray(tree.valueStart, tree.valueEnd)))
    this.valueStart = 0
    this.valueEnd = this.buffer.length
    return true
  }

  protected countAt(table: Table, range: KeyRange, sequence: number): number {
    const total = this.parts.trees.of(table.id)?.count(range, sequence) ?? 0
    return range.limit === undefined ? total : Math.min(total, range.limit)
  }
}

/** The newest committed state at each call. */
export class NewestReader extends TableReader {
  override get(table: Table, key: Uint8Array): Buffer | undefined {
    this.parts.checkAlive()
    return this.#again(() => this.getAt(table, key, this.parts.snapshots.visible))
  }

  override find(table: Table, key: Uint8Array): boolean {
    this.parts.checkAlive()
    return this.#again(() => this.findAt(table, key, this.parts.snapshots.visible))
  }

  /** Reads from a snapshot taken now and given back when the cursor ends or is closed. */
  override range(table: Table, range: KeyRange): Cursor {
    this.parts.checkAlive()
    const { snapshots } = this.parts
    const slot = snapshots.begin()
    return new RangeCursor(
      this.parts,
      this.parts.trees.of(table.id),
      range,
      snapshots.sequenceOf(slot),
      () => snapshots.revoked(slot),
      () => snapshots.end(slot),
    )
  }

  override count(table: Table, range: KeyRange): number {
    this.parts.checkAlive()
    const { snapshots } = this.parts
    const slot = snapshots.begin()
    try {
      const total = this.countAt(table, range, snapshots.sequenceOf(slot))
      if (snapshots.revoked(slot)) throw tooOld()
      return total
    } finally {
      snapshots.end(slot)
    }
  }

  #again<T>(read: () => T): T {
    const before = this.parts.snapshots.visible
    try {
      return read()
    } catch (error) {
      return this.#untilCalm(read, before, error)
    }
  }

  /** A row or its large value was given up under our eyes. Only a commit can do that: without one, the fault is real. */
  #untilCalm<T>(read: () => T, sequence: number, first: unknown): T {
    let before = sequence
    let error = first
    for (let attempt = 0; attempt < NEWEST_ATTEMPTS; attempt++) {
      const lost = isHyphaError(error, 'HYPHA_SNAPSHOT_TOO_OLD') || isHyphaError(error, 'HYPHA_CORRUPT')
      const now = this.parts.snapshots.visible
      if (!lost || (now === before && isHyphaError(error, 'HYPHA_CORRUPT'))) throw error
      before = now
      try {
        return read()
      } catch (again) {
        error = again
      }
    }
    throw error
  }
}

/** Rows of one range, large values put together. */
export class RangeCursor implements Cursor {
  buffer: Buffer = EMPTY
  valueStart = 0
  valueEnd = 0
  readonly #cursor: TreeCursor | undefined
  #left: number
  #closed = false

  constructor(
    readonly parts: ReadParts,
    tree: BTree | undefined,
    range: KeyRange,
    sequence: number,
    readonly isRevoked: () => boolean,
    readonly onClose: () => void,
  ) {
    this.#cursor = tree?.cursor(range, sequence)
    this.#left = range.limit ?? Number.POSITIVE_INFINITY
    if (tree === undefined) this.close()
  }

  get keyBuffer(): Buffer {
    return this.#cursor === undefined ? EMPTY : this.#cursor.keyBuffer
  }

  get keyLength(): number {
    return this.#cursor === undefined ? 0 : this.#cursor.keyLength
  }

  next(): boolean {
    const cursor = this.#cursor
    if (this.#closed || cursor === undefined) return false
    if (this.#left-- <= 0 || !this.#advance(cursor)) {
      if (this.isRevoked()) this.#failTooOld()
      this.close()
      return false
    }
    if (this.isRevoked()) this.#failTooOld()
    this.buffer = cursor.buffer
    this.valueStart = cursor.valueStart
    this.valueEnd = cursor.valueEnd
    if ((cursor.flags & ROW_OVERFLOW) !== 0) {
      this.buffer = this.parts.overflow.read(Buffer.from(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)))
      this.valueStart = 0
      this.valueEnd = this.buffer.length
    }
    return true
  }

  #advance(cursor: TreeCursor): boolean {
    try {
      return cursor.next()
    } catch (error) {
      this.parts.checkAlive() // a region that was given up meanwhile is the better reason
      throw error
    }
  }

  #failTooOld(): never {
    this.close()
    throw tooOld()
  }

  key(): Uint8Array {
    return Buffer.from(this.keyBuffer.subarray(0, this.keyLength))
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#cursor?.close()
    this.onClose()
  }
}
