/**
 * What the command line uses of the library, and nothing more. Every command opens the directory as an application would:
 * it takes part beside whatever processes have it open already.
 */
export type Document = Record<string, unknown>
export type Filter = Record<string, unknown>

export interface FindOptions {
  sort?: Record<string, 1 | -1>
  limit?: number
  fields?: string[]
}

export interface CollectionOptions {
  key?: string
  indexes?: Record<string, { on: string[] }>
}

export interface CollectionReader {
  get(id: unknown): Document | undefined
  find(filter?: Filter, options?: FindOptions): Iterable<Document>
  count(filter?: Filter): number
  explain(filter?: Filter, options?: FindOptions): unknown
}

export interface Collection extends CollectionReader {
  put(document: Document): Promise<unknown>
  delete(id: unknown): Promise<unknown>
  /** Resolves when every index is built. */
  ready(): Promise<void>
}

export interface TransactionCollection {
  get(id: unknown): Document | undefined
  put(document: Document): unknown
  delete(id: unknown): unknown
}

export interface Transaction {
  collection(name: string): TransactionCollection
}

export interface Snapshot {
  collection(name: string): CollectionReader
  close(): void
}

export interface Database {
  collection(name: string, options?: CollectionOptions): Collection
  /** Names of all collections. */
  collections(): string[]
  snapshot(): Snapshot
  transaction<T>(work: (tx: Transaction) => T | Promise<T>): Promise<T>
  transactionSync<T>(work: (tx: Transaction) => T, options?: { durability?: 'commit' | 'interval' | 'none' }): T
  flushed(): Promise<void>
  verify(): Promise<unknown>
  stats(): unknown
  close(): Promise<void>
}

export interface OpenOptions {
  create?: boolean
  memory?: string
}
