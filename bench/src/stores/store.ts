/**
 * What a workload asks of a store. One implementation per peer, each written as that peer's own documentation advises.
 *
 * A method may be synchronous or give a promise, whichever is that store's fastest documented way; workloads await only
 * what is a promise.
 */
import type { Sale } from '../data.js'

/** A promise or the thing itself. */
export type Soon<T> = T | Promise<T>

/**
 * What a write waits for.
 * `relaxed`: committed and visible, survives the death of the process; power loss may take the last moments.
 * `durable`: on disk when the call returns or its promise resolves.
 */
export type Durability = 'relaxed' | 'durable'

export interface StoreOptions {
  readonly directory: string
  readonly durability: Durability
  /** Budget of the store's own cache, where it has one. */
  readonly cacheBytes: number
  /** The data will be larger than the cache. */
  readonly largerThanCache?: boolean
}

interface Store {
  /** Resolves when everything written is on disk. */
  settled(): Soon<void>
  close(): Soon<void>
}

export interface KeyValueStore extends Store {
  /** The value in memory of the caller's own. */
  get(key: Buffer): Uint8Array | undefined
  /** The value in memory that the next call may overwrite; where the store has no such thing, as `get`. */
  borrow(key: Buffer): Uint8Array | undefined
  /** Reads all rows in the order of their keys, key and value; gives their number. */
  scan(): Soon<number>
  /** Writes the rows [from, to) in one transaction. */
  writeMany(keys: readonly Buffer[], values: readonly Buffer[], from: number, to: number): Soon<void>
  /** Writes one row in a transaction of its own. */
  write(key: Buffer, value: Buffer): Soon<void>
  /** Starts writing one row, which may share its transaction with others of the moment. */
  start(key: Buffer, value: Buffer): Soon<void>
  /** Reads a row and writes it back changed, in one transaction. Absent: the store has no such transactions. */
  readModifyWrite?(key: Buffer): Soon<void>
  /** Bytes of log written so far, for stores that tell. */
  logBytes?(): number
}

export interface DocumentStore extends Store {
  /** Writes documents with an index on (town, price) and one on postcode, in one transaction. */
  writeMany(documents: readonly Sale[]): Soon<void>
  get(id: string): Sale | undefined
  /** The ten cheapest of a town from a price on: number of documents found. */
  cheapest(town: string, from: number): Soon<number>
}

/** How one store is opened, and what it wants to be said about it. */
export interface StoreKind {
  readonly name: string
  /** Several processes may have the same directory open. */
  readonly manyProcesses: boolean
  /** Settings, for the report. */
  settings(options: StoreOptions): string
  openKeyValue(options: StoreOptions): Soon<KeyValueStore>
  openDocuments(options: StoreOptions): Soon<DocumentStore>
}

/** Documents of a query, at most. */
export const QUERY_LIMIT = 10
