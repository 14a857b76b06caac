/**
 * Writing documents inside a transaction: the document, its shapes and its index entries, all or nothing.
 *
 * Invariants
 * 1. Entries to remove follow from the old document as this transaction reads it, so a concurrent change of that document
 *    fails validation instead of leaving an entry behind.
 * 2. A unique index is checked by reading the range of entries with the same values: whoever commits such an entry first
 *    makes the other's validation fail, and its second run find the duplicate.
 */
import { compareBytes } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import type { Transaction } from '../engine/api.js'
import { beyond } from './bounds.js'
import type { Catalog, CollectionState } from './catalog.js'
import { decodeDocument } from './codec-reader.js'
import { encodeDocument, takeUnstoredShapes } from './codec-writer.js'
import type { DocumentEngine } from './document-engine.js'
import { createId } from './ids.js'
import { FLAG_SEVERAL, flagBytes, type IndexEntry, type OpenIndex, SEVERAL_ROW } from './index-entries.js'
import { decodeKey, type Key, type KeyScratch, skipKey, TAG_OTHER } from './keys.js'
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
      throw new HyphaError('HYPHA_DUPLICATE', `Collection '${collection}' has a document with ${state.key} ${describeKey(key)} already: use put to replace it`)
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
export function removeDocument(context: DocumentContext, tx: Transaction, collection: string, state: CollectionState, key: Key): boolean {
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
    throw new HyphaError('HYPHA_INVALID', `A document is a plain object, not ${document === null ? 'null' : typeof document}`)
  }
  const key = (document as Record<string, unknown>)[field]
  if (key !== undefined) return { document, key: key as Key }
  const created = createId()
  return { document: { [field]: created, ...document, ...(field in document ? { [field]: created } : undefined) }, key: created }
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
function updateEntries(tx: Transaction, collection: string, index: OpenIndex, before: readonly IndexEntry[], after: readonly IndexEntry[]): void {
  for (const entry of before) {
    if (!contains(after, entry)) tx.delete(index.table, entry.key, true)
  }
  for (const entry of after) {
    if (before.length > 0 && containsSame(before, entry)) continue
    addEntry(tx, collection, index, entry)
  }
}

export function addEntry(tx: Transaction, collection: string, index: OpenIndex, entry: IndexEntry): void {
  if (index.definition.unique) checkUnique(tx, collection, index, entry)
  if ((entry.flags & FLAG_SEVERAL) !== 0 && !tx.find(index.table, SEVERAL_ROW)) tx.put(index.table, SEVERAL_ROW, NOTHING, true)
  tx.put(index.table, entry.key, flagBytes(entry), true)
}

function contains(entries: readonly IndexEntry[], wanted: IndexEntry): boolean {
  for (const entry of entries) if (compareBytes(entry.key, wanted.key) === 0) return true
  return false
}

function containsSame(entries: readonly IndexEntry[], wanted: IndexEntry): boolean {
  for (const entry of entries) if (entry.flags === wanted.flags && compareBytes(entry.key, wanted.key) === 0) return true
  return false
}

function checkUnique(tx: Transaction, collection: string, index: OpenIndex, entry: IndexEntry): void {
  const values = entry.key.subarray(0, entry.valuesLength)
  const cursor = tx.range(index.table, { gte: values, lt: beyond(values) })
  try {
    while (cursor.next()) {
      const holder = cursor.keyBuffer.subarray(0, cursor.keyLength)
      if (compareBytes(holder, entry.key) !== 0) throw duplicate(collection, index, holder, entry.valuesLength)
    }
  } finally {
    cursor.close()
  }
}

function duplicate(collection: string, index: OpenIndex, holder: Buffer, valuesLength: number): HyphaError {
  const values: string[] = []
  let at = 0
  while (at < valuesLength) {
    values.push(holder[at] === TAG_OTHER ? 'an object' : describeKey(decodeKey(holder, at)))
    at = skipKey(holder, at, valuesLength)
  }
  const fields = index.definition.on.map((path, i) => `${path} = ${values[i]}`).join(', ')
  const key = describeKey(decodeKey(holder, valuesLength))
  return new HyphaError(
    'HYPHA_DUPLICATE',
    `Unique index '${index.name}' of collection '${collection}' has ${fields} already, in the document with key ${key}`,
  )
}
