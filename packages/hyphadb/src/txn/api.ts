/**
 * The engine's face towards everything above it: tables of bytes, transactions, snapshots. Documents, indexes, the mesh
 * and adapters are built on these types alone.
 */

export interface TableOptions {
  /** Only 'sorted' until hashed tables arrive. */
  keys?: 'sorted' | 'hashed'
  log?: 'shared' | 'private' | 'off'
  value?: 'bytes' | 'json' | 'msgpack'
  /** Anything else that the layer above wants stored with the table; compared as JSON when the table is opened again. */
  [name: string]: unknown
}

/** A handle; plain data. Valid until the table is dropped. */
export interface Table {
  readonly id: number
  readonly name: string
  readonly options: Readonly<TableOptions>
}

export interface KeyRange {
  gte?: Uint8Array
  gt?: Uint8Array
  lte?: Uint8Array
  lt?: Uint8Array
  reverse?: boolean
  limit?: number
}

/**
 * A position in a table. `next()` moves; the fields describe the current row and are overwritten by the next call.
 * The value is `buffer[valueStart, valueEnd)`: private memory, stable until the next `next()`.
 */
export interface Cursor {
  next(): boolean
  /** A fresh copy of the current key. */
  key(): Uint8Array
  /** The current key's bytes without a copy for the caller to keep: `keyBuffer[0, keyLength)`. */
  readonly keyBuffer: Buffer
  readonly keyLength: number
  readonly buffer: Buffer
  readonly valueStart: number
  readonly valueEnd: number
  close(): void
}

/** Reads at one point in time: the newest commit (`engine.latest`), a snapshot, or a transaction (which sees its own writes). */
export interface Reader {
  /** A fresh copy of the value, or undefined. */
  get(table: Table, key: Uint8Array): Buffer | undefined
  /**
   * The same without allocating: true when present, and then `buffer[valueStart, valueEnd)` holds the value until the
   * next call on this reader.
   */
  find(table: Table, key: Uint8Array): boolean
  readonly buffer: Buffer
  readonly valueStart: number
  readonly valueEnd: number
  range(table: Table, range: KeyRange): Cursor
  /** Number of rows in a range. Cheaper than iterating. */
  count(table: Table, range: KeyRange): number
}

export interface Snapshot extends Reader, Disposable {
  readonly sequence: number
  close(): void
}

export type Isolation = 'serializable' | 'snapshot'
export type Durability = 'commit' | 'interval' | 'none'

export interface TransactionOptions {
  isolation?: Isolation
  durability?: Durability
  /** How often a conflict is retried before HYPHA_CONFLICT. */
  retries?: number
}

export interface Transaction extends Reader {
  /** `derived`: an index entry; logged, but each replica derives its own. */
  put(table: Table, key: Uint8Array, value: Uint8Array, derived?: boolean): void
  delete(table: Table, key: Uint8Array, derived?: boolean): void
}

export interface Engine {
  /** The newest committed state at each call. */
  readonly latest: Reader
  /** Opens or creates. Contradicting the stored options is HYPHA_INVALID. */
  openTable(name: string, options?: TableOptions): Table
  lookupTable(name: string): Table | undefined
  tables(): Table[]
  dropTable(table: Table): void
  /**
   * Runs the callback and commits; runs it again after a conflict. A synchronous callback is executed and committed
   * before the call returns whenever the commit latch is free; the promise is about durability.
   */
  transact<T>(work: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T>
  transactSync<T>(work: (tx: Transaction) => T, options?: TransactionOptions): T
  /** Blind single writes: the cheapest path. */
  put(table: Table, key: Uint8Array, value: Uint8Array, options?: TransactionOptions): Promise<void>
  delete(table: Table, key: Uint8Array, options?: TransactionOptions): Promise<void>
  snapshot(): Snapshot
  flushed(): Promise<void>
  checkpoint(): Promise<void>
  close(): Promise<void>
}
