/**
 * The version ring: overwritten and deleted versions, kept until no snapshot needs them.
 *
 * Entry, multiple of 8 bytes:
 * | byte | type | what |
 * |---|---|---|
 * | 0 | f64 | commit sequence that wrote this version |
 * | 8 | f64 | pointer to the version before it; 0 = none |
 * | 16 | f64 | commit sequence that replaced it |
 * | 24 | i32 | table; -1: filler up to the ring's end |
 * | 28 | u16 | flags of the row |
 * | 30 | u16 | key length |
 * | 32 | i32 | value length |
 * | 36 | i32 | entry length |
 * | 40 | | key, value |
 *
 * A pointer is the entry's absolute position: it grows for ever, and 0 is none.
 *
 * Thread safety: `push` by the holder of the commit latch inside a mini-transaction (whose rollback resets the head);
 * `trim` by the holder of the commit latch between mini-transactions; `read` by anybody.
 * Invariants
 * 1. tail <= head <= tail + size. `replaced by` never falls from tail to head, so trimming in order is exact.
 * 2. The tail moves before bytes behind it are written again: a reader that finds tail <= pointer after it has copied
 *    has copied the entry.
 * 3. An entry leaves the ring only when no snapshot lies in [sequence, replaced by), or after it was kept elsewhere
 *    (`beyond`), where it is found by key.
 */
import { assert } from '../base/assert.js'
import type { ControlMemory } from './control-memory.js'
import { type Geometry, PUBLISH_I, VERSION_FLOOR_F, VERSION_HEAD_F, VERSION_TAIL_F } from './layout.js'
import type { PageMemory } from './page-memory.js'

/** The tree's flags of a row, as far as versions care. */
export const VERSION_DELETED = 1
export const VERSION_OVERFLOW = 2

export const ENTRY_HEADER = 40
const FIRST_POSITION = 64

export interface VersionSink {
  buffer: Buffer
  flags: number
  sequence: number
}

export interface VersionEntry {
  sequence: number
  supersededBy: number
  tableId: number
  flags: number
  /** Offsets in the control segment. */
  keyStart: number
  keyLength: number
  valueStart: number
  valueLength: number
  entryLength: number
}

/** Where versions go that leave the ring while a snapshot needs them. Same results as `read`. */
export interface VersionsBeyond {
  find(sequence: number, out: VersionSink, tableId: number, key: Uint8Array, keyLength: number): number
}

/** A large value that has just lost its row: somebody must own its pages, see txn/versions.ts. */
export interface Displaced {
  tableId: number
  key: Buffer
  sequence: number
  supersededBy: number
  flags: number
  reference: Buffer
}

export class VersionRing {
  beyond: VersionsBeyond | undefined
  /** Large values that pushes of this thread have displaced; the committer empties it after each operation. */
  readonly displaced: Displaced[] = []
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #u8: Uint8Array
  readonly #buffer: Buffer
  readonly #start: number
  readonly size: number

  constructor(control: ControlMemory, geometry: Geometry) {
    this.#i32 = control.i32
    this.#f64 = control.f64
    this.#u8 = control.u8
    this.#buffer = control.buffer
    this.#start = geometry.versionRingOffset
    this.size = geometry.versionRingBytes
  }

  /** For the builder of a region. */
  initialise(): void {
    this.#f64[VERSION_HEAD_F] = FIRST_POSITION
    this.#f64[VERSION_TAIL_F] = FIRST_POSITION
  }

  get floor(): number {
    return this.#f64[VERSION_FLOOR_F] as number
  }

  get head(): number {
    return this.#f64[VERSION_HEAD_F] as number
  }

  get tail(): number {
    return this.#f64[VERSION_TAIL_F] as number
  }

  get used(): number {
    return this.head - this.tail
  }

  /** Room that one push may need at the most, the filler at the ring's end included. */
  static roomFor(keyLength: number, valueLength: number): number {
    return 2 * (ENTRY_HEADER + keyLength + valueLength + 8)
  }

  hasRoom(bytes: number): boolean {
    return this.used + bytes <= this.size
  }

  push(
    tableId: number,
    key: Uint8Array,
    keyLength: number,
    sequence: number,
    previous: number,
    supersededBy: number,
    flags: number,
    memory: PageMemory,
    valueOffset: number,
    valueLength: number,
  ): number {
    const length = (ENTRY_HEADER + keyLength + valueLength + 7) & ~7
    let position = this.head
    let offset = position % this.size
    if (offset + length > this.size) {
      const filler = this.size - offset
      if (filler >= ENTRY_HEADER) {
        this.#i32[((this.#start + offset) >> 2) + 6] = -1
        this.#i32[((this.#start + offset) >> 2) + 9] = filler
      }
      position += filler
      offset = 0
    }
    assert(position + length - this.tail <= this.size, 'room in the version ring is made before it is needed')
    const at = this.#start + offset
    const f = at >> 3
    const w = at >> 2
    this.#f64[f] = sequence
    this.#f64[f + 1] = previous
    this.#f64[f + 2] = supersededBy
    this.#i32[w + 6] = tableId
    this.#i32[w + 7] = flags | (keyLength << 16)
    this.#i32[w + 8] = valueLength
    this.#i32[w + 9] = length
    const to = at + ENTRY_HEADER
    if (keyLength <= 32) for (let i = 0; i < keyLength; i++) this.#u8[to + i] = key[i] as number
    else this.#buffer.set(keyLength === key.length ? key : key.subarray(0, keyLength), to)
    memory.buffer.copy(this.#u8, to + keyLength, valueOffset, valueOffset + valueLength)
    this.#f64[VERSION_HEAD_F] = position + length
    if ((flags & VERSION_OVERFLOW) !== 0) this.displaced.push(this.#displacedAt(at))
    return position
  }

  read(
    pointer: number,
    sequence: number,
    out: VersionSink,
    tableId: number,
    key: Uint8Array,
    keyLength: number,
  ): number {
    for (let steps = 0; pointer > 0 && steps < 1 << 20; steps++) {
      if (pointer < this.tail) return this.#readBeyond(sequence, out, tableId, key, keyLength)
      const at = this.#start + (pointer % this.size)
      const w = at >> 2
      const written = this.#f64[at >> 3] as number
      const previous = this.#f64[(at >> 3) + 1] as number
      const packed = this.#i32[w + 7] as number
      const flags = packed & 0xffff
      const from = at + ENTRY_HEADER + (packed >>> 16)
      const length = this.#i32[w + 8] as number
      if (written > sequence) {
        if (this.#overtaken(pointer)) continue
        pointer = previous
        continue
      }
      if (length < 0 || from + length > this.#start + this.size) continue // torn: the tail has passed it
      if (out.buffer.length < length) out.buffer = Buffer.allocUnsafe(Math.max(length, out.buffer.length * 2))
      this.#buffer.copy(out.buffer, 0, from, from + length)
      if (this.#overtaken(pointer)) continue
      out.flags = flags
      out.sequence = written
      return (flags & VERSION_DELETED) !== 0 ? -1 : length
    }
    return pointer > 0 ? -2 : -1
  }

  #overtaken(pointer: number): boolean {
    Atomics.load(this.#i32, PUBLISH_I) // what was read above was read before the tail below
    return pointer < this.tail
  }

  #readBeyond(sequence: number, out: VersionSink, tableId: number, key: Uint8Array, keyLength: number): number {
    // Not kept: at this sequence nobody holds a snapshot. A reader without one starts again with the newest sequence.
    return this.beyond === undefined ? -2 : this.beyond.find(sequence, out, tableId, key, keyLength)
  }

  /** The entry at the tail, or undefined when the ring is empty. Skips fillers. */
  oldest(entry: VersionEntry): boolean {
    for (;;) {
      const position = this.tail
      if (position >= this.head) return false
      const offset = position % this.size
      const at = this.#start + offset
      const w = at >> 2
      const left = this.size - offset
      if (left < ENTRY_HEADER || (this.#i32[w + 6] as number) === -1) {
        this.#f64[VERSION_TAIL_F] = position + left
        continue
      }
      const packed = this.#i32[w + 7] as number
      entry.sequence = this.#f64[at >> 3] as number
      entry.supersededBy = this.#f64[(at >> 3) + 2] as number
      entry.tableId = this.#i32[w + 6] as number
      entry.flags = packed & 0xffff
      entry.keyLength = packed >>> 16
      entry.keyStart = at + ENTRY_HEADER
      entry.valueStart = entry.keyStart + entry.keyLength
      entry.valueLength = this.#i32[w + 8] as number
      entry.entryLength = this.#i32[w + 9] as number
      assert(entry.entryLength >= ENTRY_HEADER && entry.entryLength <= left, 'an entry of the version ring is whole')
      return true
    }
  }

  #displacedAt(at: number): Displaced {
    const w = at >> 2
    const packed = this.#i32[w + 7] as number
    const keyStart = at + ENTRY_HEADER
    const valueStart = keyStart + (packed >>> 16)
    return {
      tableId: this.#i32[w + 6] as number,
      key: Buffer.from(this.#buffer.subarray(keyStart, valueStart)),
      sequence: this.#f64[at >> 3] as number,
      supersededBy: this.#f64[(at >> 3) + 2] as number,
      flags: packed & 0xffff,
      reference: Buffer.from(this.#buffer.subarray(valueStart, valueStart + (this.#i32[w + 8] as number))),
    }
  }

  /** All large values in the ring that lost their row. Commit latch. */
  *allDisplaced(): Generator<Displaced> {
    for (let position = this.tail; position < this.head; ) {
      const offset = position % this.size
      const at = this.#start + offset
      const w = at >> 2
      const left = this.size - offset
      if (left < ENTRY_HEADER || (this.#i32[w + 6] as number) === -1) {
        position += left
        continue
      }
      const packed = this.#i32[w + 7] as number
      if ((packed & VERSION_OVERFLOW) !== 0) yield this.#displacedAt(at)
      position += this.#i32[w + 9] as number
    }
  }

  /** Drops the entry at the tail. */
  dropOldest(entry: VersionEntry): void {
    this.#f64[VERSION_TAIL_F] = this.tail + entry.entryLength
    Atomics.load(this.#i32, PUBLISH_I)
  }
}
