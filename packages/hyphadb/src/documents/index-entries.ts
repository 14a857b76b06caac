/**
 * Index entries: which rows of an index's table a document has.
 *
 * | key | value |
 * |---|---|
 * | the indexed values, then the document's key, each encoded by keys.ts | empty, or one byte of flags |
 * | unique index: the indexed values | one byte of flags, then the document's key |
 * | 0x01 0x01 | how far the index is built: byte 0 is 1 when ready; else the rest is the last document's key that has its entries |
 * | 0x01 0x02 | present when some document has, or once had, several entries (an array on or at a path) |
 *
 * Flags: 1 = decoding the entry would not give the field's value back exactly (absent, undefined, -0, bytes, objects);
 * 2 = the document may have further entries.
 *
 * Invariants
 * 1. What is indexed: null, undefined and an absent field all count as null. An array has one entry for each distinct
 *    item, an empty one a single entry of its own. Every document is in every index, except that a sparse index leaves out
 *    documents in which all its fields are absent or undefined.
 * 2. In a unique index two documents with the same values would be the same row: no isolation level lets both commit.
 * 3. Entries are derived writes of the transaction that writes the document, computed from the old and the new document
 *    as that transaction sees them.
 */
import { compareBytes } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import type { Cursor, Reader, Table } from '../engine/api.js'
import type { KeyScratch } from './key-scratch.js'
import { skipKey, TAG_EMPTY_ARRAY, TAG_META } from './keys.js'
import { leavesOf, type Path } from './paths.js'

export const FLAG_INEXACT = 1
export const FLAG_SEVERAL = 2

export const STATE_ROW = Uint8Array.of(TAG_META, 1)
export const SEVERAL_ROW = Uint8Array.of(TAG_META, 2)
/** Where entries begin, behind the rows about the index. */
export const FIRST_ENTRY = Uint8Array.of(TAG_META + 1)

/** Entries of one document in one index; an array of items in several fields multiplies. */
const MAX_ENTRIES = 4096

const FLAG_VALUES = [new Uint8Array(0), Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)]

export interface IndexDefinition {
  readonly name: string
  readonly on: readonly string[]
  readonly unique: boolean
  readonly sparse: boolean
}

export interface IndexEntry {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly flags: number
}

/** The document's key and the flags of the entry that a cursor stands on. */
export class EntryReader {
  /** The document's key: `buffer[start, end)`. */
  buffer: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  flags = 0
  private readonly unique: boolean
  private readonly fields: number

  constructor(index: OpenIndex) {
    this.unique = index.definition.unique
    this.fields = index.paths.length
  }

  read(cursor: Cursor): void {
    const { buffer, valueStart, valueEnd } = cursor
    this.flags = valueEnd > valueStart ? buffer[valueStart] : 0
    if (this.unique) {
      this.buffer = buffer
      this.start = valueStart + 1
      this.end = valueEnd
      return
    }
    const { keyBuffer, keyLength } = cursor
    let at = 0
    for (let i = 0; i < this.fields; i++) at = skipKey(keyBuffer, at, keyLength)
    this.buffer = keyBuffer
    this.start = at
    this.end = keyLength
  }

  key(): Uint8Array {
    return this.buffer.subarray(this.start, this.end)
  }
}

/** An index as one thread sees it. */
export class OpenIndex {
  readonly paths: readonly Path[]
  private readyInLatest = false
  private severalInLatest = false
  private singleUpTo = -1

  constructor(
    readonly table: Table,
    readonly definition: IndexDefinition,
    paths: readonly Path[],
  ) {
    this.paths = paths
  }

  get name(): string {
    return this.definition.name
  }

  /** Whether all documents that the reader sees have their entries. */
  isReady(reader: Reader, latest: Reader): boolean {
    if (this.readyInLatest && reader === latest) return true
    const ready = reader.find(this.table, STATE_ROW) && reader.buffer[reader.valueStart] === 1
    if (ready && reader === latest) this.readyInLatest = true
    return ready
  }

  /**
   * Whether a document may have several entries. `newer` is looked at; when it is the newest state and was so after a
   * snapshot at `sequence` was taken, a "no" is remembered for all snapshots up to that one.
   */
  hasSeveral(newer: Reader, latest: Reader, sequence: number | undefined): boolean {
    if (this.severalInLatest) return true
    if (sequence !== undefined && sequence <= this.singleUpTo) return false
    const several = newer.find(this.table, SEVERAL_ROW)
    if (newer === latest) {
      if (several) this.severalInLatest = true
      else if (sequence !== undefined) this.singleUpTo = sequence
    }
    return several
  }

  /** The document's entries, ready to be put: their bytes are private to the caller. */
  entriesOf(document: object, documentKey: Uint8Array, scratch: KeyScratch): IndexEntry[] {
    const simple = this.simpleEntry(document, documentKey, scratch)
    if (simple !== undefined) return simple
    return this.allEntries(document, documentKey, scratch)
  }

  /** The usual case, without arrays and paths of several steps: one entry or none; undefined when it is not that case. */
  private simpleEntry(document: object, documentKey: Uint8Array, scratch: KeyScratch): IndexEntry[] | undefined {
    let end = 0
    let flags = 0
    let present = false
    for (const path of this.paths) {
      if (path.field === undefined) return undefined
      const value = (document as Record<string, unknown>)[path.field]
      if (Array.isArray(value)) return undefined
      if (value !== undefined) present = true
      end = scratch.appendIndexed(value, end, path.text)
      if (scratch.wasInexact) flags = FLAG_INEXACT
    }
    if (!present && this.definition.sparse) return []
    return [this.finish(scratch, end, documentKey, flags)]
  }

  private allEntries(document: object, documentKey: Uint8Array, scratch: KeyScratch): IndexEntry[] {
    let present = false
    let several = false
    const choices: unknown[][] = []
    let combinations = 1
    for (const path of this.paths) {
      const leaves: unknown[] = []
      if (leavesOf(document, path, leaves)) several = true
      if (leaves.length === 0) leaves.push(undefined)
      if (leaves.some(leaf => leaf !== undefined)) present = true
      const values: unknown[] = []
      for (const leaf of leaves) {
        if (!Array.isArray(leaf)) {
          values.push(leaf)
        } else {
          several = true
          if (leaf.length === 0) values.push(EMPTY)
          else values.push(...(leaf as unknown[]))
        }
      }
      combinations *= values.length
      choices.push(values)
    }
    if (!present && this.definition.sparse) return []
    if (combinations > MAX_ENTRIES) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `The document would have ${combinations} entries in index '${this.name}', more than ${MAX_ENTRIES}: index fewer arrays together`,
      )
    }
    const entries: IndexEntry[] = []
    this.combine(choices, 0, 0, several ? FLAG_SEVERAL : 0, documentKey, scratch, entries)
    return distinct(entries)
  }

  private finish(scratch: KeyScratch, end: number, documentKey: Uint8Array, flags: number): IndexEntry {
    if (!this.definition.unique) return { key: scratch.copyWith(end, documentKey), value: FLAG_VALUES[flags], flags }
    const value = new Uint8Array(documentKey.length + 1)
    value[0] = flags
    value.set(documentKey, 1)
    return { key: scratch.copyWith(end), value, flags }
  }

  private combine(
    choices: readonly (readonly unknown[])[],
    field: number,
    offset: number,
    flags: number,
    documentKey: Uint8Array,
    scratch: KeyScratch,
    entries: IndexEntry[],
  ): void {
    if (field === choices.length) {
      entries.push(this.finish(scratch, offset, documentKey, flags))
      return
    }
    for (const value of choices[field]) {
      let end: number
      let inexact = true
      if (value === EMPTY) {
        end = scratch.appendTag(TAG_EMPTY_ARRAY, offset)
      } else {
        end = scratch.appendIndexed(value, offset, this.paths[field].text)
        inexact = scratch.wasInexact
      }
      this.combine(choices, field + 1, end, inexact ? flags | FLAG_INEXACT : flags, documentKey, scratch, entries)
    }
  }
}

const EMPTY = Symbol('empty array')

function distinct(entries: IndexEntry[]): IndexEntry[] {
  if (entries.length < 2) return entries
  entries.sort((a, b) => compareBytes(a.key, b.key))
  return entries.filter((entry, i) => i === 0 || compareBytes(entries[i - 1].key, entry.key) !== 0)
}
