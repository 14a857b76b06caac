/**
 * A transaction: reads a snapshot and its own writes, keeps its writes to itself until it commits.
 *
 * ```
 *   open ──commit──► committed        open ──abort──► aborted
 *          └─ lost against another: the runner (runner.ts) begins a new one
 * ```
 * At `serializable`, everything read is validated; at `snapshot`, only what is written.
 */
import { HyphaError } from '../base/errors.js'
import * as L from '../memory/layout.js'
import type { Cursor, Isolation, KeyRange, Table, Transaction } from './api.js'
import type { Committed, Committer } from './committer.js'
import { MergingCursor } from './merging-cursor.js'
import { ReadSet } from './read-set.js'
import type { ReadParts } from './reading.js'
import { SnapshotReader } from './snapshot.js'
import { WriteSet } from './write-set.js'

export interface TransactionParts extends ReadParts {
  committer: Committer
  control: { i32: Int32Array; f64: Float64Array }
  /** Checks a key or value and throws HYPHA_INVALID. */
  checkRow: (table: Table, key: Uint8Array, value: Uint8Array | undefined) => void
}

export class OpenTransaction extends SnapshotReader implements Transaction {
  readonly writes = new WriteSet()
  readonly #reads: ReadSet | undefined
  readonly #catalogVersion: number

  constructor(
    override readonly parts: TransactionParts,
    isolation: Isolation,
    readonly readOnly: boolean,
  ) {
    super(parts)
    this.#reads = isolation === 'serializable' ? new ReadSet() : undefined
    this.#catalogVersion = parts.control.i32[L.CATALOG_VERSION_I] as number
  }

  override get(table: Table, key: Uint8Array): Buffer | undefined {
    this.check()
    const own = this.writes.find(table.id, key)
    if (own !== undefined) return own.value === undefined ? undefined : Buffer.from(own.value)
    this.#reads?.point(table.id, key)
    return super.get(table, key)
  }

  override find(table: Table, key: Uint8Array): boolean {
    this.check()
    const own = this.writes.find(table.id, key)
    if (own === undefined) {
      this.#reads?.point(table.id, key)
      return super.find(table, key)
    }
    if (own.value === undefined) return false
    this.buffer = Buffer.from(own.value.buffer, own.value.byteOffset, own.value.byteLength)
    this.valueStart = 0
    this.valueEnd = own.value.length
    return true
  }

  override range(table: Table, range: KeyRange): Cursor {
    this.check()
    const read = { tableId: table.id, range: { ...range } }
    this.#reads?.range(read)
    // Always by way of the merging cursor: it also learns how far the range was really read.
    const { limit, ...bounds } = range
    return new MergingCursor(super.range(table, bounds), this.writes.inRange(table.id, range), range, limit, read)
  }

  override count(table: Table, range: KeyRange): number {
    this.check()
    if (!this.writes.has(table.id) && range.limit === undefined) {
      this.#reads?.range({ tableId: table.id, range })
      return super.count(table, range)
    }
    const cursor = this.range(table, range)
    let rows = 0
    while (cursor.next()) rows++
    cursor.close()
    return rows
  }

  put(table: Table, key: Uint8Array, value: Uint8Array, derived = false): void {
    this.#checkWritable()
    this.parts.checkRow(table, key, value)
    this.writes.set(table.id, key, value, derived)
  }

  delete(table: Table, key: Uint8Array, derived = false): void {
    this.#checkWritable()
    this.parts.checkRow(table, key, undefined)
    this.writes.set(table.id, key, undefined, derived)
  }

  #checkWritable(): void {
    this.check()
    if (this.readOnly) {
      throw new HyphaError('HYPHA_READ_ONLY', 'The database was opened with readOnly: true. Open it without to write')
    }
  }

  /** One attempt. Undefined: the latch is taken, and `tryOnly`. Sequence 0 with end -1: lost, begin again. */
  tryCommit(tryOnly: boolean): Committed | undefined {
    this.check()
    if (this.writes.size === 0) return { sequence: this.sequence, end: 0 }
    const { committer, control, trees } = this.parts
    const reads = this.#reads ?? new ReadSet()
    let since = this.sequence
    let position = -1
    if (reads.isLong(this.writes) && committer.visible !== since) {
      position = control.f64[L.VISIBLE_POSITION_F] as number
      const checkedTo = committer.visible
      if (!reads.standsSince(since, trees, this.writes)) return LOST
      since = checkedTo
    }
    const committed = committer.commit(
      this.writes.operations,
      () => {
        if ((control.i32[L.CATALOG_VERSION_I] as number) !== this.#catalogVersion) return false
        if (this.parts.snapshots.revoked(this.slot)) return false
        if (committer.visible === since) return true
        if (position >= 0) {
          const untouched = reads.untouchedIn(committer.parts.ring, position, this.writes)
          if (untouched !== undefined) return untouched
        }
        return reads.standsSince(this.sequence, trees, this.writes)
      },
      tryOnly,
    )
    if (committed === undefined) return undefined
    return committed.sequence === 0 ? LOST : committed
  }
}

export const LOST: Committed = { sequence: 0, end: -1 }
