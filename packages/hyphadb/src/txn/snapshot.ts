/** A snapshot: the same answers for as long as it is held. */
import { HyphaError } from '../base/errors.js'
import type { Cursor, KeyRange, Snapshot, Table } from './api.js'
import { RangeCursor, type ReadParts, TableReader, tooOld } from './reading.js'

export class SnapshotReader extends TableReader implements Snapshot {
  readonly sequence: number
  readonly slot: number
  #open = true

  constructor(parts: ReadParts) {
    super(parts)
    parts.checkAlive()
    this.slot = parts.snapshots.begin()
    this.sequence = parts.snapshots.sequenceOf(this.slot)
  }

  get isOpen(): boolean {
    return this.#open
  }

  protected check(): void {
    this.parts.checkAlive()
    if (!this.#open) throw new HyphaError('HYPHA_CLOSED', 'This snapshot or transaction is over. Open another')
  }

  /** After a read: what was read counts only if the snapshot still stood. */
  protected checkNotRevoked(): void {
    if (this.parts.snapshots.revoked(this.slot)) throw tooOld()
  }

  override get(table: Table, key: Uint8Array): Buffer | undefined {
    this.check()
    const value = this.getAt(table, key, this.sequence)
    this.checkNotRevoked()
    return value
  }

  override find(table: Table, key: Uint8Array): boolean {
    this.check()
    const found = this.findAt(table, key, this.sequence)
    this.checkNotRevoked()
    return found
  }

  override range(table: Table, range: KeyRange): Cursor {
    this.check()
    return new RangeCursor(
      this.parts,
      this.parts.trees.of(table.id),
      range,
      this.sequence,
      () => {
        if (!this.#open) throw new HyphaError('HYPHA_CLOSED', 'The snapshot of this cursor is closed. Open another')
        return this.parts.snapshots.revoked(this.slot)
      },
      () => {},
    )
  }

  override count(table: Table, range: KeyRange): number {
    this.check()
    const total = this.countAt(table, range, this.sequence)
    this.checkNotRevoked()
    return total
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.parts.snapshots.end(this.slot)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
