/**
 * Writing documents inside a transaction: the document, its shapes and its index entries, all or nothing.
 *
 * Invariants
 * 1. Entries to remove follow from the old document as this transaction reads it, so a concurrent change of that document
 *    fails validation instead of leaving an entry behind.
 * 2. A unique index is checked by reading the row that the new entry would be: whoever commits it first makes the other's
 *    validation fail, and its second run finds the duplicate.
 */
import { compareBytes, compareRanges } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import type { Durability, Transaction } from '../engine/api.js'
import type { Catalog, CollectionState } from './catalog.js'
import { decodeDocument } from './codec-reader.js'
import { encodeDocument, takeUnstoredShapes } from './codec-writer.js'
import type { DocumentEngine } from './document-engine.js'
import { createId } from './ids.js'
import { FLAG_SEVERAL, type IndexEntry, type OpenIndex, SEVERAL_ROW } from './index-entries.js'
import type { KeyScratch } from './key-scratch.js'
import { decodeKey, type Key, skipKey, TAG_OTHER } from './keys.js'
import type { ShapeRegistry } from './shapes.js'

const NOTHING = new Uint8Array(0)
const NO_ENTRIES: readonly IndexEntry[] = []

/** What all collections of one open database share. */
export interface DocumentContext {
  readonly engine: DocumentEngine
  readonly catalog: Catalog
  readonly shapes: ShapeRegistry
  readonly scratch: KeyScratch
}

export interface WriteOptions {
  /** What the promise waits for; the database's default if not given. */
  readonly durability?: Durability
}

export type WriteMode = 'insert' | 'put'

/** Stores a document and gives its key, made here if the document brings none. */
export function writeDocument(
  context: DocumentContext,
  tx: Transaction,
  collection: string,
  state: CollectionState,
  given: object,
  mode: WriteMode,
): Key {
  const { document, key } = withKey(given, state.key)
  const keyBytes = context.scratch.encodeCopy(key, state.key)
  const bytes = encodeDocument(document, context.shapes)
  if (takeUnstoredShapes().length > 0) storeShapes(context, tx)
  let old: object | undefined
  if ((mode === 'insert' || state.indexes.length > 0) && tx.find(state.table, keyBytes)) {
    if (mode === 'insert') {
      throw new HyphaError(
        'HYPHA_DUPLICATE',
        `Collection '${collection}' has a document with ${state.key} ${describeKey(key)} already: use put to replace it`,
      )
    }
    old = decodeDocument(tx.buffer, tx.valueStart, tx.valueEnd, context.shapes)
  }
  tx.put(state.table, keyBytes, bytes)
  for (const index of state.indexes) {
    const before = old === undefined ? NO_ENTRIES : index.entriesOf(old, keyBytes, context.scratch)
    updateEntries(tx, collection, index, before, index.entriesOf(document, keyBytes, context.scratch))
  }
  return key
}

/** Removes a document; false when there is none. */
export function removeDocument(
  context: DocumentContext,
  tx: Transaction,
  collection: string,
  state: CollectionState,
  key: Key,
): boolean {
  const keyBytes = context.scratch.encodeCopy(key, state.key)
  if (!tx.find(state.table, keyBytes)) return false
  if (state.indexes.length > 0) {
    const old = decodeDocument(tx.buffer, tx.valueStart, tx.valueEnd, context.shapes)
    for (const index of state.indexes) {
      updateEntries(tx, collection, index, index.entriesOf(old, keyBytes, context.scratch), NO_ENTRIES)
    }
  }
  tx.delete(state.table, keyBytes)
  return true
}

function withKey(document: object, field: string): { document: object; key: Key } {
  if (typeof document !== 'object' || document === null) {
    throw new HyphaError(
      'HYPHA_INVALID',
      `A document is a plain object, not ${document === null ? 'null' : typeof document}`,
    )
  }
  const key = (document as Record<string, unknown>)[field]
  if (key !== undefined) return { document, key: key as Key }
  const created = createId()
  return {
    document: { [field]: created, ...document, ...(field in document ? { [field]: created } : undefined) },
    key: created,
  }
}

export function describeKey(key: unknown): string {
  if (typeof key === 'bigint') return `${key}n`
  return key instanceof Uint8Array ? `0x${Buffer.from(key).toString('hex')}` : (JSON.stringify(key) ?? String(key))
}

/** Rows for the shapes that are not known to be committed; all but the first transaction with a shape find it committed. */
function storeShapes(context: DocumentContext, tx: Transaction): void {
  const table = context.catalog.shapesTable()
  for (const shape of takeUnstoredShapes()) {
    const id = shape.idBytes()
    if (context.engine.latest.find(table, id)) shape.stored = true
    else tx.put(table, id, shape.toBytes())
  }
}

/** Brings an index from the old document's entries to the new one's. Entries that stay are not written. */
function updateEntries(
  tx: Transaction,
  collection: string,
  index: OpenIndex,
  before: readonly IndexEntry[],
  after: readonly IndexEntry[],
): void {
  for (const entry of before) {
    if (findEntry(after, entry.key) === undefined) removeEntry(tx, index, entry)
  }
  for (const entry of after) {
    const old = before.length > 0 ? findEntry(before, entry.key) : undefined
    if (old === undefined || old.flags !== entry.flags) addEntry(tx, collection, index, entry)
  }
}

function findEntry(entries: readonly IndexEntry[], key: Uint8Array): IndexEntry | undefined {
  for (const entry of entries) if (compareBytes(entry.key, key) === 0) return entry
  return undefined
}

/** While a unique index is being built, a row may be that of another document with the same values: it stays. */
function removeEntry(tx: Transaction, index: OpenIndex, entry: IndexEntry): void {
  if (index.definition.unique && (!tx.find(index.table, entry.key) || !isHeldBy(tx, entry))) return
  tx.delete(index.table, entry.key, true)
}

export function addEntry(tx: Transaction, collection: string, index: OpenIndex, entry: IndexEntry): void {
  if (index.definition.unique && tx.find(index.table, entry.key) && !isHeldBy(tx, entry)) {
    throw duplicate(collection, index, entry, tx.buffer.subarray(tx.valueStart + 1, tx.valueEnd))
  }
  if ((entry.flags & FLAG_SEVERAL) !== 0 && !tx.find(index.table, SEVERAL_ROW))
    tx.put(index.table, SEVERAL_ROW, NOTHING, true)
  tx.put(index.table, entry.key, entry.value, true)
}

/** Whether the entry that was just found belongs to the same document. */
function isHeldBy(tx: Transaction, entry: IndexEntry): boolean {
  return compareRanges(tx.buffer, tx.valueStart + 1, tx.valueEnd, entry.value, 1, entry.value.length) === 0
}

function duplicate(collection: string, index: OpenIndex, entry: IndexEntry, holder: Buffer): HyphaError {
  const bytes = Buffer.from(entry.key.buffer, entry.key.byteOffset, entry.key.length)
  const values: string[] = []
  for (let at = 0; at < bytes.length; at = skipKey(bytes, at, bytes.length)) {
    values.push(bytes[at] === TAG_OTHER ? 'an object' : describeKey(decodeKey(bytes, at)))
  }
  const fields = index.definition.on.map((path, i) => `${path} = ${values[i]}`).join(', ')
  return new HyphaError(
    'HYPHA_DUPLICATE',
    `Unique index '${index.name}' of collection '${collection}' has ${fields} already, in the document with key ${describeKey(decodeKey(holder))}`,
  )
}
