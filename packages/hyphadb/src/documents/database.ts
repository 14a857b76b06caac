/** The database as the application sees it: collections, tables, transactions and snapshots over one engine. */
import { HyphaError } from '../base/errors.js'
import type { Durability, Snapshot, Transaction, TransactionOptions } from '../engine/api.js'
import type { EngineStats } from '../engine/stats.js'
import type { VerifyReport } from '../engine/verify.js'
import { Catalog, checkKey, checkName, DEFAULT_KEY, type IndexOptions, MissingTable } from './catalog.js'
import {
  addIndex,
  buildIfNeeded,
  Collection,
  type CollectionEntry,
  type Document,
  SnapshotCollection,
  TransactionCollection,
} from './collection.js'
import type { DocumentEngine } from './document-engine.js'
import { KeyScratch } from './key-scratch.js'
import { checkSchema, type StandardSchema } from './schema.js'
import { ShapeRegistry } from './shapes.js'
import { ByteTable, type ByteTableOptions, openByteTable, SnapshotTable, TransactionTable } from './table.js'
import { type DocumentsReport, verifyDocuments } from './verify.js'
import type { DocumentContext } from './writer.js'

export interface CollectionOptions<Input = unknown, Output = Input> {
  /** The field that holds the id; 'id' if not given. Fixed when the collection is created. */
  readonly key?: string
  /** Documents are validated by it before they are stored. */
  readonly schema?: StandardSchema<Input, Output>
  /** Created if they do not exist. Those not named here stay: see `dropIndex`. */
  readonly indexes?: Readonly<Record<string, IndexOptions>>
  /** How the collection takes part in a mesh; fixed when the collection is created. */
  readonly replicate?: 'none'
}

export interface DatabaseOptions {
  /** What a write's promise waits for when the write does not say. */
  readonly durability?: Durability
}

/** What `verify` found. No fault: everything that was acknowledged can be read, and indexes agree with documents. */
export type DatabaseReport = VerifyReport & Omit<DocumentsReport, 'faults'>

const COLLECTION_OPTIONS = new Set(['key', 'schema', 'indexes', 'replicate'])

export class Database {
  private readonly context: DocumentContext
  private readonly entries = new Map<string, CollectionEntry>()
  private closed = false

  /** @internal */
  constructor(
    private readonly engine: DocumentEngine,
    private readonly options: DatabaseOptions = {},
  ) {
    const catalog = new Catalog(engine)
    const shapes = new ShapeRegistry({
      load: id => {
        const table = catalog.lookupShapesTable()
        return table === undefined ? undefined : engine.latest.get(table, id)
      },
    })
    this.context = { engine, catalog, shapes, scratch: new KeyScratch(engine.maximumKeyBytes) }
  }

  /**
   * A collection of documents. It is created by its first write, or here when options are given.
   *
   * @throws HYPHA_INVALID when the options contradict those that are stored.
   */
  collection<Input extends object, Output extends object>(
    name: string,
    options: CollectionOptions<Input, Output> & { readonly schema: StandardSchema<Input, Output> },
  ): Collection<Output, Input>
  collection<T extends object = Document, Input = T>(name: string, options?: CollectionOptions): Collection<T, Input>
  collection(name: string, options?: CollectionOptions): Collection {
    const entry = this.entry(name)
    if (options !== undefined) this.define(entry, options)
    for (const index of this.context.catalog.state(name)?.indexes ?? []) buildIfNeeded(entry, index.name)
    return new Collection(entry)
  }

  /** Names of all collections. */
  collections(): string[] {
    this.assertOpen()
    return this.context.catalog.collections()
  }

  /**
   * A table of keys and bytes. Its options are stored at its first use and may be left out later.
   *
   * @throws HYPHA_INVALID when the options contradict those that are stored.
   */
  table<V = Uint8Array>(name: string, options?: ByteTableOptions): ByteTable<V> {
    this.assertOpen()
    return new ByteTable<V>(
      this.engine,
      openByteTable(this.engine, name, options),
      this.context.scratch,
      this.options.durability,
    )
  }

  /**
   * Runs a callback on one state of the database and commits what it wrote, all or nothing. After a conflict with another
   * transaction it runs again, so it should do nothing outside the database that must not be done twice.
   *
   * @throws HYPHA_CONFLICT when it kept losing.
   */
  async transaction<T>(
    work: (tx: DocumentTransaction) => T | Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    for (;;) {
      this.assertOpen()
      try {
        return await this.engine.transact(tx => this.run(tx, work), this.withDurability(options))
      } catch (error) {
        if (!(error instanceof MissingTable)) throw error
        error.create()
      }
    }
  }

  /** The same without a promise. With durability 'commit' the call returns when the transaction is on disk. */
  transactionSync<T>(work: (tx: DocumentTransaction) => T, options: TransactionOptions = {}): T {
    for (;;) {
      this.assertOpen()
      try {
        return this.engine.transactSync(tx => withoutPromise(this.run(tx, work)), this.withDurability(options))
      } catch (error) {
        if (!(error instanceof MissingTable)) throw error
        error.create()
      }
    }
  }

  /** The database as it is now, for as long as the snapshot is open. Close it: old versions are kept for it. */
  snapshot(): DatabaseSnapshot {
    this.assertOpen()
    return new DatabaseSnapshot(this.engine.snapshot(), name => this.entry(name), this.context)
  }

  /** Resolves when everything that is visible now is on disk. */
  flushed(): Promise<void> {
    return this.engine.flushed()
  }

  checkpoint(): Promise<void> {
    return this.engine.checkpoint()
  }

  /** Reads every block, page, tree, large value, log record, document and index entry, and reports every fault. */
  async verify(): Promise<DatabaseReport> {
    this.assertOpen()
    const engine = await this.engine.verify()
    // Damaged pages are named already; documents on them would only be named once more.
    if (engine.faults.length > 0) return { ...engine, collections: 0, documents: 0, indexEntries: 0 }
    const { faults, ...documents } = await verifyDocuments(this.context, this.engine.directory)
    return { ...engine, ...documents, faults }
  }

  /** Figures of pool, data file, log, transactions, snapshots and participants. */
  stats(): EngineStats {
    this.assertOpen()
    return this.engine.stats()
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.engine.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  private assertOpen(): void {
    if (this.closed) throw new HyphaError('HYPHA_CLOSED', 'The database is closed')
  }

  private entry(name: string): CollectionEntry {
    this.assertOpen()
    checkName(name, 'A collection')
    let entry = this.entries.get(name)
    if (entry === undefined) {
      const key = this.context.catalog.state(name)?.key ?? DEFAULT_KEY
      entry = {
        context: this.context,
        name,
        key,
        schema: undefined,
        durability: this.options.durability,
        builds: new Map(),
      }
      this.entries.set(name, entry)
    }
    return entry
  }

  private define(entry: CollectionEntry, options: CollectionOptions): void {
    for (const option of Object.keys(options)) {
      if (!COLLECTION_OPTIONS.has(option)) {
        throw new HyphaError(
          'HYPHA_INVALID',
          `Unknown option '${option}': a collection takes ${[...COLLECTION_OPTIONS].join(', ')}`,
        )
      }
    }
    if (options.replicate !== undefined && options.replicate !== 'none') {
      throw new HyphaError(
        'HYPHA_INVALID',
        `replicate: '${String(options.replicate)}' is not available: collections are local ('none')`,
      )
    }
    const schema = checkSchema(options.schema)
    const state = this.context.catalog.state(entry.name)
    if (options.key !== undefined && state !== undefined && state.key !== checkKey(options.key)) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `The key of collection '${entry.name}' is '${state.key}', not '${options.key}': it is fixed when the collection is created`,
      )
    }
    entry.key = state?.key ?? (options.key === undefined ? entry.key : checkKey(options.key))
    if (schema !== undefined) entry.schema = schema
    this.context.catalog.ensure(entry.name, entry.key)
    for (const [name, index] of Object.entries(options.indexes ?? {})) addIndex(entry, name, index)
  }

  private withDurability(options: TransactionOptions): TransactionOptions {
    const { durability } = this.options
    return options.durability !== undefined || durability === undefined ? options : { ...options, durability }
  }

  private run<T>(tx: Transaction, work: (tx: DocumentTransaction) => T): T {
    const transaction = new DocumentTransaction(tx, name => this.entry(name), this.context)
    let pending = false
    try {
      const result = work(transaction)
      if (result instanceof Promise) {
        pending = true
        return result.finally(() => transaction.finish()) as T
      }
      return result
    } finally {
      if (!pending) transaction.finish()
    }
  }
}

function withoutPromise<T>(result: T): T {
  if (!(result instanceof Promise)) return result
  result.catch(() => undefined)
  throw new HyphaError('HYPHA_INVALID', 'The callback of transactionSync returned a promise: use transaction')
}

/** What the callback of a transaction works with; of no use afterwards. */
export class DocumentTransaction {
  private finished = false

  /** @internal */
  constructor(
    private readonly tx: Transaction,
    private readonly entryOf: (name: string) => CollectionEntry,
    private readonly context: DocumentContext,
  ) {}

  collection<T extends object = Document, Input = T>(name: string): TransactionCollection<T, Input> {
    return new TransactionCollection<T, Input>(this.entryOf(name), () => this.current())
  }

  table<V = Uint8Array>(name: string, options?: ByteTableOptions): TransactionTable<V> {
    const { engine, scratch } = this.context
    if (engine.lookupTable(name) === undefined)
      throw new MissingTable(name, () => void openByteTable(engine, name, options))
    return new TransactionTable<V>(openByteTable(engine, name, options), scratch, () => this.current())
  }

  /** @internal */
  finish(): void {
    this.finished = true
  }

  private current(): Transaction {
    if (this.finished)
      throw new HyphaError('HYPHA_CLOSED', 'The transaction is over: await everything that uses it inside its callback')
    return this.tx
  }
}

/** The database at one moment. */
export class DatabaseSnapshot {
  /** @internal */
  constructor(
    private readonly snapshot: Snapshot,
    private readonly entryOf: (name: string) => CollectionEntry,
    private readonly context: DocumentContext,
  ) {}

  /** The commit that it shows as its newest. */
  get sequence(): number {
    return this.snapshot.sequence
  }

  collection<T extends object = Document>(name: string): SnapshotCollection<T> {
    return new SnapshotCollection<T>(this.entryOf(name), this.snapshot)
  }

  table<V = Uint8Array>(name: string): SnapshotTable<V> {
    const { engine, scratch } = this.context
    if (engine.lookupTable(name) === undefined) throw new HyphaError('HYPHA_NOT_FOUND', `There is no table '${name}'`)
    return new SnapshotTable<V>(openByteTable(engine, name, undefined), scratch, this.snapshot)
  }

  close(): void {
    this.snapshot.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Opens a database over an engine. */
export async function openDatabase(
  engineFactory: () => Promise<DocumentEngine>,
  options: DatabaseOptions = {},
): Promise<Database> {
  return new Database(await engineFactory(), options)
}
