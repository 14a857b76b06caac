/**
 * The engine's contract in memory, for tests of the layer above it: sorted arrays, snapshots that share them until the
 * next write, optimistic validation of points and ranges, and conflicts on demand. Several documents' databases may stand
 * on one of these, as several processes would.
 */
import { compareBytes } from '../base/bytes.js'
import { HyphaError } from '../base/errors.js'
import type {
  Cursor,
  KeyRange,
  Reader,
  Snapshot,
  Table,
  TableOptions,
  Transaction,
  TransactionOptions,
} from '../engine/api.js'
import type { VerifyReport } from '../engine/verify.js'
import type { DocumentEngine } from './document-engine.js'

interface Row {
  readonly key: Buffer
  readonly value: Buffer
}

interface Rows {
  list: Row[]
  shared: boolean
}

interface Write {
  readonly table: number
  readonly key: Buffer
  readonly value: Buffer | undefined
  readonly derived: boolean
}

interface Commit {
  readonly sequence: number
  readonly writes: readonly Write[]
}

class Conflict extends Error {}

function lowerBound(rows: readonly Row[], key: Uint8Array): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(rows[middle].key, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function inRange(key: Uint8Array, range: KeyRange): boolean {
  if (range.gte !== undefined && compareBytes(key, range.gte) < 0) return false
  if (range.gt !== undefined && compareBytes(key, range.gt) <= 0) return false
  if (range.lte !== undefined && compareBytes(key, range.lte) > 0) return false
  return range.lt === undefined || compareBytes(key, range.lt) < 0
}

function select(rows: readonly Row[], range: KeyRange): Row[] {
  const from = range.gte ?? range.gt
  let at = from === undefined ? 0 : lowerBound(rows, from)
  const found: Row[] = []
  for (; at < rows.length; at++) {
    const row = rows[at]
    if (inRange(row.key, range)) found.push(row)
    else if (found.length > 0) break
    else if ((range.lt ?? range.lte) !== undefined && compareBytes(row.key, (range.lt ?? range.lte) as Uint8Array) > 0)
      break
  }
  if (range.reverse) found.reverse()
  return range.limit === undefined ? found : found.slice(0, range.limit)
}

class FakeCursor implements Cursor {
  keyBuffer: Buffer = Buffer.alloc(0)
  keyLength = 0
  buffer: Buffer = Buffer.alloc(0)
  valueStart = 0
  valueEnd = 0
  private at = -1
  constructor(private readonly rows: readonly Row[]) {}

  next(): boolean {
    this.buffer.fill(0xee) // whoever kept a view of the row before finds rubbish
    if (++this.at >= this.rows.length) return false
    const row = this.rows[this.at]
    this.keyBuffer = Buffer.concat([row.key, Buffer.from([0xee])])
    this.keyLength = row.key.length
    this.buffer = Buffer.concat([Buffer.from([0xee]), row.value, Buffer.from([0xee])])
    this.valueStart = 1
    this.valueEnd = 1 + row.value.length
    return true
  }
  key(): Uint8Array {
    return Uint8Array.from(this.keyBuffer.subarray(0, this.keyLength))
  }
  close(): void {}
}

abstract class FakeReader implements Reader {
  buffer: Buffer = Buffer.alloc(0)
  valueStart = 0
  valueEnd = 0
  reads = 0
  abstract rows(table: Table): readonly Row[]

  get(table: Table, key: Uint8Array): Buffer | undefined {
    return this.find(table, key) ? Buffer.from(this.buffer.subarray(this.valueStart, this.valueEnd)) : undefined
  }
  find(table: Table, key: Uint8Array): boolean {
    this.buffer.fill(0xee)
    this.reads++
    const rows = this.rows(table)
    const row = rows[lowerBound(rows, key)] as Row | undefined
    if (row === undefined || compareBytes(row.key, key) !== 0) return false
    this.buffer = Buffer.concat([Buffer.from([0xee, 0xee]), row.value, Buffer.from([0xee])])
    this.valueStart = 2
    this.valueEnd = 2 + row.value.length
    return true
  }
  range(table: Table, range: KeyRange): Cursor {
    return new FakeCursor(select(this.rows(table), range))
  }
  count(table: Table, range: KeyRange): number {
    return select(this.rows(table), range).length
  }
}

class Latest extends FakeReader {
  constructor(private readonly engine: FakeEngine) {
    super()
  }
  rows(table: Table): readonly Row[] {
    return this.engine.rowsOf(table).list
  }
}

class FakeSnapshot extends FakeReader implements Snapshot {
  private readonly held = new Map<number, readonly Row[]>()
  private open = true
  constructor(
    private readonly engine: FakeEngine,
    readonly sequence: number,
  ) {
    super()
    for (const table of engine.tables()) this.held.set(table.id, engine.share(table))
    engine.openSnapshots++
  }
  rows(table: Table): readonly Row[] {
    if (!this.open) throw new HyphaError('HYPHA_CLOSED', 'The snapshot is closed')
    return this.held.get(table.id) ?? []
  }
  close(): void {
    if (this.open) this.engine.openSnapshots--
    this.open = false
  }
  [Symbol.dispose](): void {
    this.close()
  }
}

class FakeTransaction extends FakeReader implements Transaction {
  readonly writes = new Map<string, Write>()
  readonly points = new Set<string>()
  readonly ranges: { table: number; range: KeyRange }[] = []
  private readonly base = new Map<number, readonly Row[]>()
  readonly catalogVersion: number
  readonly sequence: number
  private merged = new Map<number, Row[]>()

  constructor(engine: FakeEngine) {
    super()
    this.catalogVersion = engine.catalogVersion
    this.sequence = engine.sequence
    for (const table of engine.tables()) this.base.set(table.id, engine.share(table))
  }
  rows(table: Table): readonly Row[] {
    const merged = this.merged.get(table.id)
    if (merged !== undefined) return merged
    return this.base.get(table.id) ?? []
  }
  override find(table: Table, key: Uint8Array): boolean {
    this.points.add(`${table.id}:${Buffer.from(key).toString('hex')}`)
    return super.find(table, key)
  }
  override range(table: Table, range: KeyRange): Cursor {
    this.noteRange(table, range)
    return super.range(table, range)
  }
  override count(table: Table, range: KeyRange): number {
    this.noteRange(table, range)
    return super.count(table, range)
  }
  private noteRange(table: Table, range: KeyRange): void {
    const copy: KeyRange = {}
    if (range.gte) copy.gte = Uint8Array.from(range.gte)
    if (range.gt) copy.gt = Uint8Array.from(range.gt)
    if (range.lte) copy.lte = Uint8Array.from(range.lte)
    if (range.lt) copy.lt = Uint8Array.from(range.lt)
    this.ranges.push({ table: table.id, range: copy })
  }
  put(table: Table, key: Uint8Array, value: Uint8Array, derived = false): void {
    this.write({ table: table.id, key: Buffer.from(key), value: Buffer.from(value), derived }, table)
  }
  delete(table: Table, key: Uint8Array, derived = false): void {
    this.write({ table: table.id, key: Buffer.from(key), value: undefined, derived }, table)
  }
  private write(write: Write, table: Table): void {
    this.writes.set(`${write.table}:${write.key.toString('hex')}`, write)
    let rows = this.merged.get(table.id)
    if (rows === undefined) {
      rows = this.rows(table).slice()
      this.merged.set(table.id, rows)
    }
    applyWrite(rows, write)
  }
  conflictsWith(commit: Commit): boolean {
    return commit.writes.some(write => {
      const point = `${write.table}:${write.key.toString('hex')}`
      if (this.points.has(point) || this.writes.has(point)) return true
      return this.ranges.some(read => read.table === write.table && inRange(write.key, read.range))
    })
  }
}

function applyWrite(rows: Row[], write: Write): void {
  const at = lowerBound(rows, write.key)
  const present = at < rows.length && compareBytes(rows[at].key, write.key) === 0
  if (write.value === undefined) {
    if (present) rows.splice(at, 1)
  } else {
    rows.splice(at, present ? 1 : 0, { key: write.key, value: write.value })
  }
}

export class FakeEngine implements DocumentEngine {
  readonly directory = ''

  verify(): Promise<VerifyReport> {
    return Promise.resolve({
      faults: [],
      pages: 0,
      blocks: 0,
      tables: this.byName.size,
      rows: 0,
      logRecords: 0,
      logBytes: 0,
    })
  }

  stats(): never {
    throw new Error('the fake engine has no figures')
  }

  readonly latest: Reader = new Latest(this)
  readonly maximumKeyBytes: number = 2048
  catalogVersion = 1
  sequence = 0
  openSnapshots = 0
  /** The next so many commits fail and run again. */
  conflictsToInject = 0
  /** Runs before the next commit is validated: room for another process. */
  beforeNextCommit: (() => void) | undefined
  commits = 0
  attempts = 0
  lastWrites: readonly Write[] = []
  private readonly byName = new Map<string, Table>()
  private readonly data = new Map<number, Rows>()
  private readonly history: Commit[] = []
  private nextTable = 1
  private inside = false

  rowsOf(table: Table): Rows {
    const rows = this.data.get(table.id)
    if (rows === undefined) throw new HyphaError('HYPHA_NOT_FOUND', `Table '${table.name}' was dropped`)
    return rows
  }
  share(table: Table): readonly Row[] {
    const rows = this.rowsOf(table)
    rows.shared = true
    return rows.list
  }
  openTable(name: string, options: TableOptions = {}): Table {
    const known = this.byName.get(name)
    if (known !== undefined) {
      const contradicts = Object.keys(options).some(
        each => JSON.stringify(known.options[each]) !== JSON.stringify(options[each]),
      )
      if (contradicts) {
        throw new HyphaError('HYPHA_INVALID', `Table '${name}' has other options`)
      }
      return known
    }
    if (this.inside) throw new HyphaError('HYPHA_INVALID', 'A table is created inside a transaction')
    const table: Table = { id: this.nextTable++, name, options: structuredClone(options) }
    this.byName.set(name, table)
    this.data.set(table.id, { list: [], shared: false })
    this.catalogVersion++
    return table
  }
  lookupTable(name: string): Table | undefined {
    return this.byName.get(name)
  }
  tables(): Table[] {
    return [...this.byName.values()]
  }
  dropTable(table: Table): void {
    this.byName.delete(table.name)
    this.data.delete(table.id)
    this.catalogVersion++
  }
  private commit(transaction: FakeTransaction): void {
    const hook = this.beforeNextCommit
    this.beforeNextCommit = undefined
    hook?.()
    if (this.conflictsToInject > 0) {
      this.conflictsToInject--
      throw new Conflict()
    }
    if (transaction.catalogVersion !== this.catalogVersion) throw new Conflict()
    for (const commit of this.history) {
      if (commit.sequence > transaction.sequence && transaction.conflictsWith(commit)) throw new Conflict()
    }
    if (transaction.writes.size === 0) return
    const writes = [...transaction.writes.values()]
    for (const write of writes) {
      const rows = this.data.get(write.table) as Rows
      if (rows.shared) {
        rows.list = rows.list.slice()
        rows.shared = false
      }
      applyWrite(rows.list, write)
    }
    this.lastWrites = writes
    this.commits++
    this.history.push({ sequence: ++this.sequence, writes })
    if (this.history.length > 64) this.history.shift()
  }
  transactSync<T>(work: (tx: Transaction) => T, options: TransactionOptions = {}): T {
    for (let attempt = 0; ; attempt++) {
      this.attempts++
      const transaction = new FakeTransaction(this)
      const result = this.call(work, transaction)
      try {
        this.commit(transaction)
        return result
      } catch (error) {
        this.giveUp(error, attempt, options)
      }
    }
  }
  private call<T>(work: (tx: Transaction) => T, transaction: FakeTransaction): T {
    this.inside = true
    try {
      return work(transaction)
    } finally {
      this.inside = false
    }
  }
  private giveUp(error: unknown, attempt: number, options: TransactionOptions): void {
    if (!(error instanceof Conflict)) throw error
    if (attempt >= (options.retries ?? 10)) throw new HyphaError('HYPHA_CONFLICT', 'The transaction kept losing')
  }
  transact<T>(work: (tx: Transaction) => T | Promise<T>, options: TransactionOptions = {}): Promise<T> {
    try {
      return this.attempt(work, options, 0)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }
  private attempt<T>(
    work: (tx: Transaction) => T | Promise<T>,
    options: TransactionOptions,
    attempt: number,
  ): Promise<T> {
    this.attempts++
    const transaction = new FakeTransaction(this)
    const finish = (result: T): Promise<T> => {
      try {
        this.commit(transaction)
      } catch (error) {
        this.giveUp(error, attempt, options)
        return this.attempt(work, options, attempt + 1)
      }
      return Promise.resolve(result)
    }
    const result = this.call(work, transaction)
    return result instanceof Promise ? result.then(finish) : finish(result)
  }
  put(table: Table, key: Uint8Array, value: Uint8Array): Promise<void> {
    return this.transact(tx => tx.put(table, key, value))
  }
  delete(table: Table, key: Uint8Array): Promise<void> {
    return this.transact(tx => tx.delete(table, key))
  }
  snapshot(): Snapshot {
    return new FakeSnapshot(this, this.sequence)
  }
  async flushed(): Promise<void> {}
  async checkpoint(): Promise<void> {}
  async close(): Promise<void> {}
}
