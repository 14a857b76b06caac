/**
 * Collections as the application sees them: of the database (writes give promises), of a transaction (everything is
 * synchronous), and of a snapshot (reading only).
 */
import { HyphaError } from '../base/errors.js'
import type { Durability, Reader, Snapshot, Transaction } from '../engine/api.js'
import { type CollectionState, checkIndex, type IndexOptions, MissingTable } from './catalog.js'
import { decodeDocument } from './codec-reader.js'
import type { Filter } from './filter.js'
import { BUILD_AT_ONCE_DOCUMENTS, buildInBackground, buildNow } from './index-build.js'
import type { Key } from './keys.js'
import { type Explanation, type FindOptions, Query, type QuerySource, type Scope } from './query.js'
import { type StandardSchema, validate, validateSync } from './schema.js'
import {
  type DocumentContext,
  describeKey,
  removeDocument,
  type WriteMode,
  type WriteOptions,
  writeDocument,
} from './writer.js'

export type Document = Record<string, unknown>

export type { WriteOptions }

/** New values for some fields, or a function from the document to its replacement. */
export type Change<T> = Partial<T> | ((document: T) => T)

/** How this thread knows a collection; shared by all its faces. */
export interface CollectionEntry {
  readonly context: DocumentContext
  readonly name: string
  /** For a collection that does not exist yet. */
  key: string
  schema: StandardSchema | undefined
  /** Durability of writes without one of their own. */
  readonly durability: Durability | undefined
  readonly builds: Map<string, Promise<void>>
}

abstract class Reads<T extends object> implements QuerySource {
  /** @internal */
  readonly context: DocumentContext

  /** @internal */
  constructor(
    /** @internal */
    protected readonly entry: CollectionEntry,
  ) {
    this.context = entry.context
  }

  get name(): string {
    return this.entry.name
  }

  /** @internal */
  get collection(): string {
    return this.entry.name
  }

  /** @internal */
  abstract openScope(): Scope

  /** Documents that match, iterable synchronously and asynchronously. */
  find(filter?: Filter, options?: FindOptions): Query<T> {
    return new Query<T>(this, filter, options)
  }

  /** The first document that matches, or undefined. */
  findOne(filter?: Filter, options?: FindOptions): T | undefined {
    return this.find(filter, { ...options, limit: 1 }).first()
  }

  count(filter?: Filter): number {
    return this.find(filter).count()
  }

  /** How `find` with the same arguments would read. */
  explain(filter?: Filter, options?: FindOptions): Explanation {
    return this.find(filter, options).explain()
  }

  /** @internal */
  protected readOne(reader: Reader, id: Key): T | undefined {
    const state = this.context.catalog.state(this.entry.name)
    if (state === undefined) return undefined
    const key = this.context.scratch.encode(id, state.key)
    if (!reader.find(state.table, key)) return undefined
    return decodeDocument(reader.buffer, reader.valueStart, reader.valueEnd, this.context.shapes) as T
  }
}

/** Indexes that this reader may use. */
function readyFor(state: CollectionState | undefined, reader: Reader, latest: Reader): CollectionState['indexes'] {
  if (state === undefined) return []
  if (reader === latest && state.indexes.every(index => index.isReady(latest, latest))) return state.indexes
  return state.indexes.filter(index => index.isReady(reader, latest))
}

const nothing = (): void => undefined

export class Collection<T extends object = Document, Input = T> extends Reads<T> {
  /** @internal */
  openScope(): Scope {
    const { engine, catalog } = this.context
    const state = catalog.state(this.entry.name)
    // Before the snapshot, so that what is ready now is ready in it.
    const indexes = readyFor(state, engine.latest, engine.latest)
    if (state === undefined)
      return { reader: engine.latest, newer: engine.latest, sequence: undefined, state, indexes, release: nothing }
    const snapshot = engine.snapshot()
    return {
      reader: snapshot,
      newer: engine.latest,
      sequence: snapshot.sequence,
      state,
      indexes,
      release: () => snapshot.close(),
    }
  }

  /** The document with this id in the newest committed state, or undefined. */
  get(id: Key): T | undefined {
    return this.readOne(this.context.engine.latest, id)
  }

  /** The documents with these ids at one point in time, undefined where there is none. */
  async getMany(ids: Iterable<Key>): Promise<(T | undefined)[]> {
    const snapshot = this.context.engine.snapshot()
    try {
      const documents: (T | undefined)[] = []
      let since = performance.now()
      for (const id of ids) {
        documents.push(this.readOne(snapshot, id))
        if (documents.length % 16 === 0 && performance.now() - since > 4) {
          await new Promise(resolve => setImmediate(resolve))
          since = performance.now()
        }
      }
      return documents
    } finally {
      snapshot.close()
    }
  }

  /**
   * Stores a new document and gives its id, made here if the document has none.
   *
   * @throws HYPHA_DUPLICATE when the id or a value of a unique index is taken.
   */
  insert(document: Input, options?: WriteOptions): Promise<Key> {
    return this.writeOne(document, 'insert', options)
  }

  /** Stores a document, replacing the one with the same id, and gives its id. */
  put(document: Input, options?: WriteOptions): Promise<Key> {
    return this.writeOne(document, 'put', options)
  }

  /** `insert` for many documents in one transaction: all of them or none. */
  insertMany(documents: Iterable<Input>, options?: WriteOptions): Promise<Key[]> {
    return this.writeMany(documents, 'insert', options)
  }

  /** `put` for many documents in one transaction: all of them or none. */
  putMany(documents: Iterable<Input>, options?: WriteOptions): Promise<Key[]> {
    return this.writeMany(documents, 'put', options)
  }

  /**
   * Changes a document and gives the new one. An object replaces the fields that it names; a function gets the document
   * and returns its replacement (it may run more than once).
   *
   * @throws HYPHA_NOT_FOUND when there is no document with this id.
   */
  update(id: Key, change: Change<T>, options?: WriteOptions): Promise<T> {
    const { entry, context } = this
    return context.engine.transact((tx): T | Promise<T> => {
      const state = existing(context.catalog.state(entry.name), entry.name, id)
      const changed = changedDocument(context, tx, entry.name, state, id, change as Change<object>)
      const valid = validate(entry.schema, changed, entry.name)
      if (valid instanceof Promise)
        return valid.then(document => replaceDocument(context, tx, entry.name, id, document) as T)
      return replaceDocument(context, tx, entry.name, id, valid) as T
    }, this.options(options))
  }

  /** Removes a document; false when there was none. */
  delete(id: Key, options?: WriteOptions): Promise<boolean> {
    const { entry, context } = this
    return context.engine.transact(tx => {
      const state = context.catalog.state(entry.name)
      return state !== undefined && removeDocument(context, tx, entry.name, state, id)
    }, this.options(options))
  }

  /** Adds an index and waits until queries can use it. Writers maintain it from the start. */
  async createIndex(name: string, options: IndexOptions): Promise<void> {
    addIndex(this.entry, name, options)
    await this.entry.builds.get(name)
  }

  /** Removes an index; false when there was none. */
  dropIndex(name: string): boolean {
    this.entry.builds.delete(name)
    return this.context.catalog.dropIndex(this.entry.name, name)
  }

  /** The indexes and whether queries can use them yet. */
  indexes(): { name: string; on: readonly string[]; unique: boolean; sparse: boolean; ready: boolean }[] {
    const { latest } = this.context.engine
    const state = this.context.catalog.state(this.entry.name)
    return (state?.indexes ?? []).map(index => ({ ...index.definition, ready: index.isReady(latest, latest) }))
  }

  /** Resolves when every index is built; rejects with the reason if one cannot be. */
  async ready(): Promise<void> {
    await Promise.all(this.entry.builds.values())
  }

  private options(options: WriteOptions | undefined): { durability?: Durability } {
    const durability = options?.durability ?? this.entry.durability
    return durability === undefined ? {} : { durability }
  }

  private writeOne(document: Input, mode: WriteMode, options: WriteOptions | undefined): Promise<Key> {
    try {
      const valid = validate(this.entry.schema, document as object, this.entry.name)
      if (valid instanceof Promise) return valid.then(settled => this.commit(settled, mode, options))
      return this.commit(valid, mode, options)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  private commit(document: object, mode: WriteMode, options: WriteOptions | undefined): Promise<Key> {
    const { entry, context } = this
    context.catalog.ensure(entry.name, entry.key)
    return context.engine.transact(
      tx =>
        writeDocument(context, tx, entry.name, present(context.catalog.state(entry.name), entry.name), document, mode),
      this.options(options),
    )
  }

  private async writeMany(
    documents: Iterable<Input>,
    mode: WriteMode,
    options: WriteOptions | undefined,
  ): Promise<Key[]> {
    const { entry, context } = this
    const valid: object[] = []
    for (const document of documents) {
      const checked = validate(entry.schema, document as object, entry.name)
      valid.push(checked instanceof Promise ? await checked : checked)
    }
    context.catalog.ensure(entry.name, entry.key)
    return context.engine.transact(tx => {
      const state = present(context.catalog.state(entry.name), entry.name)
      return valid.map(document => writeDocument(context, tx, entry.name, state, document, mode))
    }, this.options(options))
  }
}

/** A collection inside a transaction: reads see its own writes, everything is synchronous. */
export class TransactionCollection<T extends object = Document, Input = T> extends Reads<T> {
  /** @internal */
  constructor(
    entry: CollectionEntry,
    private readonly tx: () => Transaction,
  ) {
    super(entry)
  }

  /** @internal */
  openScope(): Scope {
    const tx = this.tx()
    const state = this.context.catalog.state(this.entry.name)
    return {
      reader: tx,
      newer: tx,
      sequence: undefined,
      state,
      indexes: readyFor(state, tx, this.context.engine.latest),
      release: nothing,
    }
  }

  get(id: Key): T | undefined {
    return this.readOne(this.tx(), id)
  }

  getMany(ids: Iterable<Key>): (T | undefined)[] {
    return Array.from(ids, id => this.get(id))
  }

  insert(document: Input): Key {
    return this.write(document, 'insert')
  }

  put(document: Input): Key {
    return this.write(document, 'put')
  }

  insertMany(documents: Iterable<Input>): Key[] {
    return Array.from(documents, document => this.insert(document))
  }

  putMany(documents: Iterable<Input>): Key[] {
    return Array.from(documents, document => this.put(document))
  }

  update(id: Key, change: Change<T>): T {
    const { entry, context } = this
    const state = existing(context.catalog.state(entry.name), entry.name, id)
    const changed = changedDocument(context, this.tx(), entry.name, state, id, change as Change<object>)
    return replaceDocument(context, this.tx(), entry.name, id, validateSync(entry.schema, changed, entry.name)) as T
  }

  delete(id: Key): boolean {
    const state = this.context.catalog.state(this.entry.name)
    return state !== undefined && removeDocument(this.context, this.tx(), this.entry.name, state, id)
  }

  private write(document: Input, mode: WriteMode): Key {
    const { entry, context } = this
    const valid = validateSync(entry.schema, document as object, entry.name)
    const state = context.catalog.state(entry.name)
    if (state === undefined)
      throw new MissingTable(entry.name, () => void context.catalog.ensure(entry.name, entry.key))
    return writeDocument(context, this.tx(), entry.name, state, valid, mode)
  }
}

/** A collection as it was when the snapshot was taken. */
export class SnapshotCollection<T extends object = Document> extends Reads<T> {
  /** @internal */
  constructor(
    entry: CollectionEntry,
    private readonly snapshot: Snapshot,
  ) {
    super(entry)
  }

  /** @internal */
  openScope(): Scope {
    const { snapshot } = this
    const state = this.context.catalog.state(this.entry.name)
    return {
      reader: snapshot,
      newer: snapshot,
      sequence: undefined,
      state,
      indexes: readyFor(state, snapshot, this.context.engine.latest),
      release: nothing,
    }
  }

  get(id: Key): T | undefined {
    return this.readOne(this.snapshot, id)
  }

  getMany(ids: Iterable<Key>): (T | undefined)[] {
    return Array.from(ids, id => this.get(id))
  }
}

/** The state of a collection that existed before the transaction began. */
function present(state: CollectionState | undefined, collection: string): CollectionState {
  if (state === undefined) throw new HyphaError('HYPHA_NOT_FOUND', `Collection '${collection}' was dropped meanwhile`)
  return state
}

function notFound(collection: string, id: Key): HyphaError {
  return new HyphaError(
    'HYPHA_NOT_FOUND',
    `Collection '${collection}' has no document with id ${describeKey(id)}: use put to create it`,
  )
}

function existing(state: CollectionState | undefined, collection: string, id: Key): CollectionState {
  if (state === undefined) throw notFound(collection, id)
  return state
}

function changedDocument(
  context: DocumentContext,
  tx: Transaction,
  collection: string,
  state: CollectionState,
  id: Key,
  change: Change<object>,
): object {
  const key = context.scratch.encode(id, state.key)
  if (!tx.find(state.table, key)) throw notFound(collection, id)
  const old = decodeDocument(tx.buffer, tx.valueStart, tx.valueEnd, context.shapes)
  return typeof change === 'function' ? (change as (document: object) => object)(old) : { ...old, ...change }
}

/** The last step of an update: the document must still be the one with this id. */
function replaceDocument(
  context: DocumentContext,
  tx: Transaction,
  collection: string,
  id: Key,
  document: object,
): object {
  const state = existing(context.catalog.state(collection), collection, id)
  const key =
    typeof document === 'object' && document !== null ? (document as Record<string, unknown>)[state.key] : undefined
  const before = context.scratch.encodeCopy(id, state.key)
  if (key === undefined || Buffer.compare(before, context.scratch.encode(key, state.key)) !== 0) {
    throw new HyphaError(
      'HYPHA_INVALID',
      `An update must return the document with its ${state.key} unchanged (${describeKey(id)}): to move it, delete and insert`,
    )
  }
  writeDocument(context, tx, collection, state, document, 'put')
  return document
}

/** Makes sure that an index exists and is being built. */
export function addIndex(entry: CollectionEntry, name: string, options: IndexOptions): void {
  const { context } = entry
  context.catalog.ensure(entry.name, entry.key)
  context.catalog.ensureIndex(entry.name, checkIndex(name, options))
  buildIfNeeded(entry, name)
}

/** Starts building an index that is not ready, or goes on with what another process left unfinished. */
export function buildIfNeeded(entry: CollectionEntry, name: string): void {
  const { context } = entry
  const state = context.catalog.state(entry.name)
  const index = state?.indexes.find(each => each.name === name)
  const { latest } = context.engine
  if (state === undefined || index === undefined || index.isReady(latest, latest) || entry.builds.has(name)) return
  if (latest.count(state.table, { limit: BUILD_AT_ONCE_DOCUMENTS + 1 }) <= BUILD_AT_ONCE_DOCUMENTS) {
    buildNowIfAllowed(context, entry.name, name)
    return
  }
  const build = buildInBackground(context, entry.name, name).then(() => void entry.builds.delete(name))
  build.catch(nothing) // ready() and createIndex() report it
  entry.builds.set(name, build)
}

/** Who may only read goes on without the index until somebody else has built it. */
function buildNowIfAllowed(context: DocumentContext, collection: string, name: string): void {
  try {
    buildNow(context, collection, name)
  } catch (error) {
    if (!(error instanceof HyphaError) || error.code !== 'HYPHA_READ_ONLY') throw error
  }
}
