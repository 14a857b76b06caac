/** Tables of keys and values, below the documents: typed keys (keys.ts), values as bytes, JSON or MessagePack. */
import { Packr } from 'msgpackr'
import { HyphaError } from '../base/errors.js'
import type { Cursor, Durability, Engine, KeyRange, Reader, Table, TableOptions, Transaction } from '../engine/api.js'
import { checkName } from './catalog.js'
import type { KeyScratch } from './key-scratch.js'
import { decodeKey, type Key } from './keys.js'
import type { WriteOptions } from './writer.js'

export interface ByteTableOptions {
  readonly keys?: 'sorted' | 'hashed'
  readonly log?: 'shared' | 'private' | 'off'
  readonly value?: 'bytes' | 'json' | 'msgpack'
}

export interface RangeOptions {
  readonly gte?: Key
  readonly gt?: Key
  readonly lte?: Key
  readonly lt?: Key
  readonly reverse?: boolean
  readonly limit?: number
}

interface ValueCodec {
  encode(value: unknown): Uint8Array
  decode(bytes: Buffer): unknown
}

/** Objects are packed as records (with their names, once per value), so that maps stay Maps. */
const packr = new Packr({ useRecords: true, moreTypes: true, useBigIntExtension: true })

const codecs: Readonly<Record<'bytes' | 'json' | 'msgpack', ValueCodec>> = {
  bytes: {
    encode(value) {
      if (value instanceof Uint8Array) return value
      throw new HyphaError(
        'HYPHA_INVALID',
        "This table's values are bytes (Uint8Array or Buffer): to store other values, create it with value: 'json' or 'msgpack'",
      )
    },
    decode: bytes => bytes,
  },
  json: {
    encode(value) {
      const text = JSON.stringify(value) as string | undefined
      if (text === undefined) throw new HyphaError('HYPHA_INVALID', `A ${typeof value} has no JSON`)
      return Buffer.from(text)
    },
    decode: bytes => JSON.parse(bytes.toString('utf8')) as unknown,
  },
  msgpack: {
    encode: value => packr.pack(value),
    decode: bytes => packr.unpack(bytes) as unknown,
  },
}

/** Opens, creates or looks up the engine's table; the options of the first use are stored and may be left out later. */
export function openByteTable(engine: Engine, name: string, options: ByteTableOptions | undefined): Table {
  checkName(name, 'A table')
  for (const option of Object.keys(options ?? {})) {
    if (option !== 'keys' && option !== 'log' && option !== 'value') {
      throw new HyphaError('HYPHA_INVALID', `Unknown option '${option}': a table takes keys, log and value`)
    }
  }
  const value = options?.value
  if (value !== undefined && !Object.hasOwn(codecs, value)) {
    throw new HyphaError('HYPHA_INVALID', `A table's value is 'bytes', 'json' or 'msgpack', not '${String(value)}'`)
  }
  const known = engine.lookupTable(name)
  if (known?.options.kind === 'collection') {
    throw new HyphaError('HYPHA_INVALID', `'${name}' is a collection: use db.collection('${name}')`)
  }
  if (known !== undefined && options === undefined) return known
  const given: TableOptions = { ...options }
  return engine.openTable(
    name,
    known === undefined ? { keys: 'sorted', log: 'shared', value: 'bytes', ...given } : given,
  )
}

abstract class TableReads<V> {
  /** @internal */
  protected readonly codec: ValueCodec

  /** @internal */
  constructor(
    /** @internal */
    protected readonly table: Table,
    /** @internal */
    protected readonly scratch: KeyScratch,
  ) {
    this.codec = codecs[table.options.value ?? 'bytes']
  }

  get name(): string {
    return this.table.name
  }

  /** @internal */
  protected abstract reader(): Reader

  get(key: Key): V | undefined {
    const bytes = this.reader().get(this.table, this.scratch.encode(key, 'key'))
    return bytes === undefined ? undefined : (this.codec.decode(bytes) as V)
  }

  has(key: Key): boolean {
    return this.reader().find(this.table, this.scratch.encode(key, 'key'))
  }

  /** Rows between two keys, in their order; iterable synchronously and asynchronously. */
  range(options: RangeOptions = {}): RowRange<V> {
    const range = this.keyRange(options)
    return new RowRange<V>(() => this.reader().range(this.table, range), this.codec)
  }

  count(options: RangeOptions = {}): number {
    return this.reader().count(this.table, this.keyRange(options))
  }

  private keyRange(options: RangeOptions): KeyRange {
    const range: KeyRange = {}
    for (const side of ['gte', 'gt', 'lte', 'lt'] as const) {
      const key = options[side]
      if (key !== undefined) range[side] = this.scratch.encodeCopy(key, side)
    }
    if (options.reverse !== undefined) range.reverse = options.reverse
    if (options.limit !== undefined) range.limit = options.limit
    return range
  }
}

export interface TableRow<V> {
  readonly key: Key
  readonly value: V
}

export class RowRange<V> implements Iterable<TableRow<V>>, AsyncIterable<TableRow<V>> {
  /** @internal */
  constructor(
    private readonly open: () => Cursor,
    private readonly codec: ValueCodec,
  ) {}

  *[Symbol.iterator](): Generator<TableRow<V>, void, undefined> {
    const cursor = this.open()
    try {
      while (cursor.next()) {
        const key = decodeKey(cursor.keyBuffer, 0, cursor.keyLength)
        const value = this.codec.decode(Buffer.from(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd))) as V
        yield { key, value }
      }
    } finally {
      cursor.close()
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TableRow<V>, void, undefined> {
    let since = performance.now()
    for (const row of this) {
      yield row
      if (performance.now() - since > 4) {
        await new Promise(resolve => setImmediate(resolve))
        since = performance.now()
      }
    }
  }

  toArray(): TableRow<V>[] {
    return [...this]
  }
}

/** A table of the database: writes give promises. */
export class ByteTable<V = Uint8Array> extends TableReads<V> {
  /** @internal */
  constructor(
    private readonly engine: Engine,
    table: Table,
    scratch: KeyScratch,
    private readonly durability: Durability | undefined,
  ) {
    super(table, scratch)
  }

  /** @internal */
  protected reader(): Reader {
    return this.engine.latest
  }

  /** Inserts or replaces. Committed when the call returns, unless another commit is under way; the promise is about durability. */
  put(key: Key, value: V, options?: WriteOptions): Promise<void> {
    try {
      return this.engine.put(
        this.table,
        this.scratch.encodeCopy(key, 'key'),
        this.codec.encode(value),
        this.options(options),
      )
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  delete(key: Key, options?: WriteOptions): Promise<void> {
    try {
      return this.engine.delete(this.table, this.scratch.encodeCopy(key, 'key'), this.options(options))
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  private options(options: WriteOptions | undefined): { durability?: Durability } {
    const durability = options?.durability ?? this.durability
    return durability === undefined ? {} : { durability }
  }
}

/** A table inside a transaction. */
export class TransactionTable<V = Uint8Array> extends TableReads<V> {
  /** @internal */
  constructor(
    table: Table,
    scratch: KeyScratch,
    private readonly tx: () => Transaction,
  ) {
    super(table, scratch)
  }

  /** @internal */
  protected reader(): Reader {
    return this.tx()
  }

  put(key: Key, value: V): void {
    const bytes = this.codec.encode(value)
    // A transaction keeps what it writes until it commits; the caller's buffer is the caller's again after this call.
    const kept = bytes === (value as unknown) ? Buffer.from(bytes) : bytes
    this.tx().put(this.table, this.scratch.encodeCopy(key, 'key'), kept)
  }

  delete(key: Key): void {
    this.tx().delete(this.table, this.scratch.encodeCopy(key, 'key'))
  }
}

/** A table as it was when the snapshot was taken. */
export class SnapshotTable<V = Uint8Array> extends TableReads<V> {
  /** @internal */
  constructor(
    table: Table,
    scratch: KeyScratch,
    private readonly snapshot: Reader,
  ) {
    super(table, scratch)
  }

  /** @internal */
  protected reader(): Reader {
    return this.snapshot
  }
}
