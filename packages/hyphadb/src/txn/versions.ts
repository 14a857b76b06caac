/**
 * Keeps old versions within bounds: trims the ring, moves what snapshots still need into a tree of their own when the
 * ring is full, and gives up the oldest snapshot when that tree has reached its limit.
 *
 * Kept version: key = table (u32), row key, sequence (f64 big-endian: positive ones sort like numbers); value =
 * f64 replaced by, u32 flags, the row's value. The tree's pages are pages like others, so they may leave memory; recovery
 * throws the tree away, since no snapshot outlives a region.
 *
 * Large values: a version whose value stands in overflow pages gets its row here at once, in the commit that replaces it.
 * That row owns the pages, also in a checkpoint; whoever removes it frees them. Invariant: a page of a large value is
 * owned by exactly one row of a table or of this tree, at every point between commits.
 *
 * Thread safety: everything but `find` by the holder of the commit latch, between mini-transactions.
 */

import { type OverflowValues, referencedLength } from '../index/overflow.js'
import type { ControlMemory } from '../memory/control-memory.js'
import * as L from '../memory/layout.js'
import type { Snapshots } from '../memory/snapshots.js'
import {
  type Displaced,
  VERSION_DELETED,
  VERSION_OVERFLOW,
  type VersionEntry,
  type VersionRing,
  type VersionSink,
  type VersionsBeyond,
} from '../memory/version-ring.js'
import { KEPT_VERSIONS_TABLE, type Trees } from './trees.js'

const VALUE_HEADER = 12
/** Rows of the kept tree that are looked at while the commit latch is held. */
const TRIM_STEP = 500
/** Such steps that a commit takes upon itself when it has to keep more than may be. */
const HELP_PARTS = 2

/** KEPT_LIMIT_I: a state, and above it a number that tells walks before a change of it from walks after. */
const LIMIT_WITHIN = 0
const LIMIT_LOOKING = 1
const LIMIT_DUE = 2
const LIMIT_MASK = 3
const LIMIT_GENERATION = 4

export class Versions implements VersionsBeyond {
  overflow!: OverflowValues
  trees!: Trees
  /** Where the next part of a walk over the kept tree begins, and what KEPT_LIMIT_I was when the walk did. */
  #trimFrom: Buffer | undefined
  #trimWord = 0
  #helped = 0
  readonly #entry: VersionEntry = {
    sequence: 0,
    supersededBy: 0,
    tableId: 0,
    flags: 0,
    keyStart: 0,
    keyLength: 0,
    valueStart: 0,
    valueLength: 0,
    entryLength: 0,
  }

  constructor(
    readonly control: ControlMemory,
    readonly ring: VersionRing,
    readonly snapshots: Snapshots,
    readonly keptBytesMax: number,
  ) {
    ring.beyond = this
  }

  get keptBytes(): number {
    return this.control.f64[L.VERSION_SPILL_HEAD_F] as number
  }

  /** Makes room for what one row's change may push. Never fails. */
  makeRoom(bytes: number): void {
    const { ring } = this
    if (ring.used + bytes <= ring.size >> 1) return
    this.trim()
    if (ring.hasRoom(bytes)) return
    this.#keep(Math.min(ring.size, bytes + (ring.size >> 2)))
  }

  /** Drops what no snapshot can need. */
  trim(): void {
    const floor = this.snapshots.refreshFloor()
    const entry = this.#entry
    while (this.ring.oldest(entry) && entry.supersededBy <= floor) this.#drop(entry)
  }

  #drop(entry: VersionEntry): void {
    this.ring.dropOldest(entry)
  }

  /** After each operation of a commit: the large values that it displaced get their owner. Repeatable. */
  ownDisplaced(): void {
    const { displaced } = this.ring
    for (let value = displaced.pop(); value !== undefined; value = displaced.pop()) this.own(value)
  }

  /** For the repairer, who does not know what the dead owner had displaced. */
  ownReplacedBy(sequence: number): void {
    for (const value of this.ring.allDisplaced()) if (value.supersededBy === sequence) this.own(value)
  }

  /** A row for a large value that has lost its own. */
  own(value: Displaced): void {
    const { tableId, key, sequence, supersededBy, flags, reference } = value
    this.#put(keptKey(tableId, key, key.length, sequence), supersededBy, flags, reference)
  }

  #put(key: Buffer, supersededBy: number, flags: number, bytes: Uint8Array): void {
    const tree = this.trees.forWriting(KEPT_VERSIONS_TABLE, supersededBy)
    const value = Buffer.alloc(VALUE_HEADER + bytes.length)
    value.writeDoubleLE(supersededBy, 0)
    value.writeUInt32LE(flags, 8)
    value.set(bytes, VALUE_HEADER)
    if (!tree.put(key, key.length, value, 0, value.length, 0, supersededBy)) return
    this.control.f64[L.VERSION_SPILL_HEAD_F] = this.keptBytes + key.length + value.length
  }

  /** Empties the ring from its old end until so many bytes are free; what somebody needs goes to the tree. */
  #keep(bytes: number): void {
    const entry = this.#entry
    this.#helped = 0
    let sequences = this.snapshots.needed()
    while (!this.ring.hasRoom(bytes) && this.ring.oldest(entry)) {
      if (!isNeeded(sequences, entry.sequence, entry.supersededBy)) {
        this.#drop(entry)
        continue
      }
      if (this.keptBytes + entry.entryLength > this.keptBytesMax && this.#atLimit()) {
        sequences = this.snapshots.needed()
        continue
      }
      this.#keepOne(entry)
      this.ring.dropOldest(entry)
    }
  }

  /**
   * More is kept than may be. First all that is kept is looked through, by whoever is over the limit and the housekeeper,
   * a part at a time: some of it may be needed by nobody any more. Only when that was not enough the oldest snapshot is
   * given up, and what it needed must be found before another is. Until then a quarter more may be kept. True when a
   * snapshot was given up.
   *
   * ```
   *   WITHIN ──over the limit──► LOOKING ──all looked at, still over──► DUE ──oldest given up──► LOOKING
   *      ▲                          │ all looked at, within                   (also from LOOKING, at a quarter over)
   *      └──────────────────────────┘
   * ```
   */
  #atLimit(): boolean {
    if (this.#limitState === LIMIT_WITHIN) this.#look()
    if (this.#limitState === LIMIT_LOOKING && this.keptBytes <= this.keptBytesMax * 1.25) {
      if (this.#helped++ < HELP_PARTS) this.trimKept()
      return false
    }
    if (!this.snapshots.revokeOldest()) return false
    this.#look()
    return true
  }

  get #limitState(): number {
    return (this.control.i32[L.KEPT_LIMIT_I] as number) & LIMIT_MASK
  }

  /** Everything that is kept is to be looked at, from now on: walks that began before do not count. */
  #look(): void {
    const word = this.control.i32[L.KEPT_LIMIT_I] as number
    this.control.i32[L.KEPT_LIMIT_I] = ((word + LIMIT_GENERATION) & ~LIMIT_MASK) | LIMIT_LOOKING
  }

  /** A walk over all that is kept has ended that began when the word was `word`. */
  #looked(word: number): void {
    const { i32 } = this.control
    if ((word & LIMIT_MASK) !== LIMIT_LOOKING || i32[L.KEPT_LIMIT_I] !== word) return
    i32[L.KEPT_LIMIT_I] = (word & ~LIMIT_MASK) | (this.keptBytes > this.keptBytesMax ? LIMIT_DUE : LIMIT_WITHIN)
  }

  #keepOne(entry: VersionEntry): void {
    const { u8 } = this.control
    const key = keptKey(entry.tableId, u8.subarray(entry.keyStart, entry.valueStart), entry.keyLength, entry.sequence)
    this.#put(key, entry.supersededBy, entry.flags, u8.subarray(entry.valueStart, entry.valueStart + entry.valueLength))
  }

  find(sequence: number, out: VersionSink, tableId: number, key: Uint8Array, keyLength: number): number {
    const found = this.#findKept(sequence, out, tableId, key, keyLength)
    if (found !== -2) return found
    // Whoever holds a snapshot finds all that it needs here: the row did not exist. Others must look again.
    return this.snapshots.holds(sequence) ? -1 : -2
  }

  #findKept(sequence: number, out: VersionSink, tableId: number, key: Uint8Array, keyLength: number): number {
    const tree = this.trees.of(KEPT_VERSIONS_TABLE)
    if (tree === undefined) return -2
    const newest = keptKey(tableId, key, keyLength, sequence)
    const cursor = tree.cursor(
      { gte: keptKey(tableId, key, keyLength, 0), lte: newest, reverse: true },
      Number.MAX_SAFE_INTEGER,
    )
    try {
      while (cursor.next()) {
        // Longer keys with this one as their beginning sort in between.
        if (
          cursor.keyLength !== newest.length ||
          newest.compare(cursor.keyBuffer, 0, newest.length - 8, 0, newest.length - 8) !== 0
        ) {
          continue
        }
        const { buffer, valueStart, valueEnd } = cursor
        if (buffer.readDoubleLE(valueStart) <= sequence) return -2
        const length = valueEnd - valueStart - VALUE_HEADER
        if (out.buffer.length < length) out.buffer = Buffer.allocUnsafe(length)
        buffer.copy(out.buffer, 0, valueStart + VALUE_HEADER, valueEnd)
        out.flags = buffer.readUInt32LE(valueStart + 8)
        out.sequence = cursor.keyBuffer.readDoubleBE(newest.length - 8)
        return (out.flags & VERSION_DELETED) !== 0 ? -1 : length
      }
      return -2
    } finally {
      cursor.close()
    }
  }

  /** Large values of old versions, each with the table that it was of. Commit latch. */
  *references(): Generator<{ tableId: number; reference: Buffer }> {
    const cursor = this.trees.of(KEPT_VERSIONS_TABLE)?.cursor({}, Number.MAX_SAFE_INTEGER)
    while (cursor?.next() === true) {
      const { buffer, valueStart, valueEnd, keyBuffer } = cursor
      if ((buffer.readUInt32LE(valueStart + 8) & VERSION_OVERFLOW) === 0) continue
      yield {
        tableId: keyBuffer.readUInt32BE(0),
        reference: Buffer.from(buffer.subarray(valueStart + VALUE_HEADER, valueEnd)),
      }
    }
    cursor?.close()
  }

  /**
   * Housekeeping: looks at some kept versions and gives up those that nobody needs any more; goes on from there at the
   * next call. True when it has come to the end. The tree itself stays: other threads remember its root.
   */
  trimKept(): boolean {
    const tree = this.trees.of(KEPT_VERSIONS_TABLE)
    if (tree === undefined) return true
    const sequences = this.snapshots.needed()
    const from = this.#trimFrom
    if (from === undefined) this.#trimWord = this.control.i32[L.KEPT_LIMIT_I] as number
    const cursor = tree.cursor(from === undefined ? {} : { gt: from }, Number.MAX_SAFE_INTEGER)
    const dead: { key: Buffer; reference: Buffer | undefined; bytes: number }[] = []
    let looked = 0
    let alive = 0
    let more = false
    while ((more = cursor.next())) {
      const { buffer, valueStart, valueEnd, keyLength, keyBuffer } = cursor
      const written = keyBuffer.readDoubleBE(keyLength - 8)
      if (!isNeeded(sequences, written, buffer.readDoubleLE(valueStart))) {
        const overflow = (buffer.readUInt32LE(valueStart + 8) & VERSION_OVERFLOW) !== 0
        const reference = overflow ? Buffer.from(buffer.subarray(valueStart + VALUE_HEADER, valueEnd)) : undefined
        dead.push({
          key: Buffer.from(keyBuffer.subarray(0, keyLength)),
          reference,
          bytes: keyLength + valueEnd - valueStart,
        })
        if (reference !== undefined) looked += this.overflow.pagesFor(referencedLength(reference))
      } else alive++
      if (++looked < TRIM_STEP) continue
      this.#trimFrom = Buffer.from(keyBuffer.subarray(0, keyLength))
      break
    }
    cursor.close()
    if (!more) this.#trimFrom = undefined
    for (const row of dead) this.#forget(row.key, row.reference, row.bytes)
    for (const row of dead) tree.purge(row.key, row.key.length)
    if (more) return false
    if (from === undefined && alive === 0) this.control.f64[L.VERSION_SPILL_HEAD_F] = 0
    this.#looked(this.#trimWord)
    return true
  }

  /** Recovery: no snapshot outlives a region, so all that was kept goes. */
  dropAll(): void {
    for (const { reference } of [...this.references()]) this.overflow.free(reference)
    while (!this.trees.remove(KEPT_VERSIONS_TABLE, 256, () => {}));
    this.control.f64[L.VERSION_SPILL_HEAD_F] = 0
  }

  #forget(key: Buffer, reference: Buffer | undefined, bytes: number): void {
    const tree = this.trees.of(KEPT_VERSIONS_TABLE)
    // The value first: a death in between leaves a row whose value is gone, which freeing it again notices.
    if (reference !== undefined) this.overflow.free(reference)
    tree?.delete(key, key.length, Number.MAX_SAFE_INTEGER)
    this.control.f64[L.VERSION_SPILL_HEAD_F] = Math.max(0, this.keptBytes - bytes)
  }
}

function isNeeded(sequences: readonly number[], from: number, to: number): boolean {
  for (const sequence of sequences) if (sequence >= from && sequence < to) return true
  return false
}

function keptKey(tableId: number, key: Uint8Array, keyLength: number, sequence: number): Buffer {
  const bytes = Buffer.allocUnsafe(4 + keyLength + 8)
  bytes.writeUInt32BE(tableId, 0)
  bytes.set(keyLength === key.length ? key : key.subarray(0, keyLength), 4)
  bytes.writeDoubleBE(sequence, 4 + keyLength)
  return bytes
}
