/** The rows of the table: what each one does, over which data, how it is counted and what it should reach. */
import type { Durability } from './stores/store.js'

/** Which prepared directory a workload opens. `none`: an empty one each time. */
export type DataSet = 'rows' | 'documents' | 'large' | 'none'

export type Target = { readonly ratio: number } | { readonly atLeast: number } | { readonly atMost: number }

export interface Workload {
  readonly name: string
  readonly unit: string
  /** Whether more of the unit is better or less. */
  readonly better: 'more' | 'less'
  /** The job of jobs/, or the command line's import with so many records a transaction. */
  readonly job: string | { readonly importBatch: number }
  readonly data: DataSet
  readonly durability: Durability
  readonly target?: Target
  /** Only stores that several processes may open. */
  readonly manyProcesses?: boolean
  /** Only ours: there is nothing to compare with. */
  readonly oursAlone?: boolean
  /** Stores that cannot do it, and why. */
  readonly without?: Readonly<Record<string, string>>
  /** This many processes at once; their figures are added. */
  readonly processes?: number
  /** A job that runs in another process meanwhile. */
  readonly beside?: string
  /** Number of documents written instead of rows. */
  readonly documents?: boolean
  /** The stores' memory is a quarter of the data. */
  readonly largerThanCache?: boolean
  /** The system's page cache forgets the files before each measurement. */
  readonly cold?: boolean
  readonly note?: string
}

const noTransactions = { 'classic-level': 'no transactions that read' }

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'get, random',
    unit: 'gets/s',
    better: 'more',
    job: 'get',
    data: 'rows',
    durability: 'relaxed',
    target: { ratio: 1.5 },
    note: 'the value in memory of its own (lmdb: getBinary)',
  },
  {
    name: 'get, random, borrowed',
    unit: 'gets/s',
    better: 'more',
    job: 'borrow',
    data: 'rows',
    durability: 'relaxed',
    note: 'lmdb: getBinaryFast, whose value the next call overwrites; the others have no such call and do the same as above',
  },
  {
    name: 'scan, in order',
    unit: 'rows/s',
    better: 'more',
    job: 'scan',
    data: 'rows',
    durability: 'relaxed',
    target: { ratio: 1.5 },
  },
  {
    name: 'get, four processes',
    unit: 'gets/s',
    better: 'more',
    job: 'get',
    data: 'rows',
    durability: 'relaxed',
    processes: 4,
    manyProcesses: true,
    note: 'sum of the four',
  },
  {
    name: 'get, another process writing',
    unit: 'gets/s',
    better: 'more',
    job: 'get',
    data: 'rows',
    durability: 'relaxed',
    beside: 'pacedWriter',
    manyProcesses: true,
    note: 'the writer: up to 10,000 rows a second in relaxed transactions of ten',
  },
  {
    name: 'get, data four times the memory',
    unit: 'gets/s',
    better: 'more',
    job: 'getLarge',
    data: 'large',
    durability: 'relaxed',
    largerThanCache: true,
    note: 'rows of 1,000 bytes',
  },
  {
    name: 'bulk write, random keys',
    unit: 'rows/s',
    better: 'more',
    job: 'bulkRandom',
    data: 'none',
    durability: 'relaxed',
    target: { ratio: 1 },
    note: 'into an empty store, transactions of 1,000, until all is on disk',
  },
  {
    name: 'bulk write, sequential keys',
    unit: 'rows/s',
    better: 'more',
    job: 'bulkSequential',
    data: 'none',
    durability: 'relaxed',
    target: { ratio: 1 },
    note: 'the same',
  },
  {
    name: 'bulk write, documents with two indexes',
    unit: 'documents/s',
    better: 'more',
    job: 'bulkDocuments',
    data: 'none',
    durability: 'relaxed',
    documents: true,
    note: 'into an empty store, transactions of 100, until all is on disk',
  },
  {
    name: 'relaxed write, single',
    unit: 'writes/s',
    better: 'more',
    job: 'write',
    data: 'rows',
    durability: 'relaxed',
    target: { ratio: 2 },
    note: 'each a transaction of its own, committed before the next begins',
  },
  {
    name: 'relaxed write, 1,000 in flight',
    unit: 'writes/s',
    better: 'more',
    job: 'burst',
    data: 'rows',
    durability: 'relaxed',
    note: 'started one after the other, then awaited: lmdb makes one transaction of what is started in one turn of the event loop',
  },
  {
    name: 'relaxed transaction, read-modify-write',
    unit: 'transactions/s',
    better: 'more',
    job: 'readModifyWrite',
    data: 'rows',
    durability: 'relaxed',
    without: noTransactions,
  },
  {
    name: 'durable write, single',
    unit: 'writes/s',
    better: 'more',
    job: 'write',
    data: 'rows',
    durability: 'durable',
    target: { ratio: 1 },
  },
  {
    name: 'durable write, 32 in flight',
    unit: 'writes/s',
    better: 'more',
    job: 'writeInFlight',
    data: 'rows',
    durability: 'durable',
    target: { ratio: 1 },
    note: 'better-sqlite3 has one connection and so one write at a time',
  },
  {
    name: 'query, indexed, ten documents',
    unit: 'queries/s',
    better: 'more',
    job: 'query',
    data: 'documents',
    durability: 'relaxed',
    target: { ratio: 1.5 },
    note: 'the ten cheapest of a town from a price on, index on (town, price)',
  },
  {
    name: 'get, document by id',
    unit: 'documents/s',
    better: 'more',
    job: 'getDocument',
    data: 'documents',
    durability: 'relaxed',
  },
  {
    name: 'log bytes per byte, transactions of 1',
    unit: 'bytes/byte',
    better: 'less',
    job: 'logBytesSingly',
    data: 'rows',
    durability: 'relaxed',
    target: { atMost: 1.3 },
    oursAlone: true,
  },
  {
    name: 'log bytes per byte, transactions of 50',
    unit: 'bytes/byte',
    better: 'less',
    job: 'logBytesInFifties',
    data: 'rows',
    durability: 'relaxed',
    target: { atMost: 1.3 },
    oursAlone: true,
  },
  {
    name: 'open, live',
    unit: 'ms',
    better: 'less',
    job: 'openOnce',
    data: 'rows',
    durability: 'relaxed',
    beside: 'hold',
    manyProcesses: true,
    target: { atMost: 5 },
    note: 'another process has it open; the first open of a process',
  },
  {
    name: 'open, cold',
    unit: 'ms',
    better: 'less',
    job: 'openOnce',
    data: 'large',
    durability: 'relaxed',
    cold: true,
    target: { atMost: 100 },
    note: 'closed cleanly before, nothing of it in the page cache',
  },
  {
    name: 'import, bulk, transactions of 50',
    unit: 'records/s',
    better: 'more',
    job: { importBatch: 50 },
    data: 'none',
    durability: 'relaxed',
    target: { atLeast: 60_000 },
    oursAlone: true,
    note: 'hypha import --preset price-paid with indexes on (town, price) and (postcode)',
  },
  {
    name: 'import, relaxed, transactions of 1',
    unit: 'records/s',
    better: 'more',
    job: { importBatch: 1 },
    data: 'none',
    durability: 'relaxed',
    target: { atLeast: 25_000 },
    oursAlone: true,
    note: 'the same',
  },
]

/** How much of everything. */
export interface Scale {
  readonly name: 'full' | 'quick' | 'tiny'
  readonly rows: number
  readonly documents: number
  readonly largeRows: number
  readonly importRecords: number
  readonly seconds: number
  readonly warmSeconds: number
  readonly rounds: number
  readonly timeoutMs: number
}

export const SCALES: Readonly<Record<Scale['name'], Scale>> = {
  full: {
    name: 'full',
    rows: 1_000_000,
    documents: 100_000,
    largeRows: 1_000_000,
    importRecords: Number.POSITIVE_INFINITY,
    seconds: 1.5,
    warmSeconds: 0.5,
    rounds: 3,
    timeoutMs: 300_000,
  },
  quick: {
    name: 'quick',
    rows: 100_000,
    documents: 20_000,
    largeRows: 150_000,
    importRecords: Number.POSITIVE_INFINITY,
    seconds: 0.25,
    warmSeconds: 0.15,
    rounds: 1,
    timeoutMs: 60_000,
  },
  tiny: {
    name: 'tiny',
    rows: 300,
    documents: 200,
    largeRows: 200,
    importRecords: 200,
    seconds: 0.01,
    warmSeconds: 0.002,
    rounds: 1,
    timeoutMs: 20_000,
  },
}

export const VALUE_BYTES_LARGE = 1000

/** Workloads whose name has one of these words in it. */
export function chosen(only: readonly string[]): readonly Workload[] {
  if (only.length === 0) return WORKLOADS
  return WORKLOADS.filter(({ name }) => only.some(word => name.includes(word)))
}
