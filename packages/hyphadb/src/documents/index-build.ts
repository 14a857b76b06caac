/**
 * Giving a new index the entries of documents that were there before it.
 *
 * From the moment that the index's table exists every writer maintains it (catalog.ts), so only documents older than the
 * table lack entries. They are walked in key order, a batch per transaction; how far it got is a row of the index itself,
 * so whoever opens the collection next goes on after a death, and two builders at once only repeat each other's work.
 * Readers use the index once its state row says ready.
 */
import { HyphaError } from '../base/errors.js'
import type { Transaction } from '../engine/api.js'
import type { CollectionState } from './catalog.js'
import { decodeDocument } from './codec-reader.js'
import { type OpenIndex, STATE_ROW } from './index-entries.js'
import { addEntry, type DocumentContext } from './writer.js'

const BATCH_DOCUMENTS = 256
/** A collection of up to this many documents is indexed before the call returns. */
export const BUILD_AT_ONCE_DOCUMENTS = 1024

const READY = Uint8Array.of(1)
const EVERYTHING_AFTER = Uint8Array.of(0)

/** One batch; true when the index is ready. */
function buildBatch(
  context: DocumentContext,
  tx: Transaction,
  collection: string,
  state: CollectionState,
  index: OpenIndex,
): boolean {
  let from = EVERYTHING_AFTER
  if (tx.find(index.table, STATE_ROW)) {
    if (tx.buffer[tx.valueStart] === 1) return true
    from = Uint8Array.from(tx.buffer.subarray(tx.valueStart + 1, tx.valueEnd))
  }
  const cursor = tx.range(state.table, { gt: from, limit: BATCH_DOCUMENTS })
  let last: Uint8Array | undefined
  let documents = 0
  try {
    while (cursor.next()) {
      last = cursor.key()
      documents++
      const document = decodeDocument(cursor.buffer, cursor.valueStart, cursor.valueEnd, context.shapes)
      for (const entry of index.entriesOf(document, last, context.scratch)) addEntry(tx, collection, index, entry)
    }
  } finally {
    cursor.close()
  }
  const ready = documents < BATCH_DOCUMENTS
  tx.put(index.table, STATE_ROW, ready || last === undefined ? READY : Buffer.concat([Uint8Array.of(0), last]), true)
  return ready
}

function step(context: DocumentContext, tx: Transaction, collection: string, name: string): boolean {
  const state = context.catalog.state(collection)
  const index = state?.indexes.find(each => each.name === name)
  if (state === undefined || index === undefined) {
    throw new HyphaError('HYPHA_NOT_FOUND', `Index '${name}' of '${collection}' was dropped while it was being built`)
  }
  return buildBatch(context, tx, collection, state, index)
}

/** Builds to the end without giving way: for small collections. */
export function buildNow(context: DocumentContext, collection: string, name: string): void {
  try {
    while (!context.engine.transactSync(tx => step(context, tx, collection, name), { durability: 'interval' })) {
      // The next batch.
    }
  } catch (error) {
    giveUp(context, collection, name, error)
  }
}

/** Builds batch by batch, letting other work in between. */
export async function buildInBackground(context: DocumentContext, collection: string, name: string): Promise<void> {
  try {
    for (;;) {
      const ready = await context.engine.transact(tx => step(context, tx, collection, name), { durability: 'none' })
      if (ready) return
      await new Promise(resolve => setImmediate(resolve))
    }
  } catch (error) {
    giveUp(context, collection, name, error)
  }
}

/** An index that cannot be built (a duplicate among the documents) must not stay and refuse writes. */
function giveUp(context: DocumentContext, collection: string, name: string, error: unknown): never {
  if (error instanceof HyphaError && (error.code === 'HYPHA_DUPLICATE' || error.code === 'HYPHA_INVALID')) {
    context.catalog.dropIndex(collection, name)
  }
  throw error
}
