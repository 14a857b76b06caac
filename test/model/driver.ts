/**
 * Random operations on an engine and on a plain map at once: every answer is compared on the spot. The keys of one driver
 * begin with its prefix, so several processes can each check their own exactly; a table shared by all is checked by its
 * invariants (shared-rows.ts).
 */
import { writeSync } from 'node:fs'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { Reader, Table, Transaction, TransactionOptions } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { keyPool, randomValue } from './random-rows.js'
import { bytesOf, RowModel, type TextRange } from './row-model.js'
import { checkSum, SHARED_TABLE, transfer } from './shared-rows.js'

export interface ModelSettings {
  directory: string
  seed: number
  operations: number
  engine: InternalOptions
  /** One latin1 character that own keys begin with, or '' for the whole table. */
  prefix: string
  keys: number
  largest: number
  shared: boolean
  reopen: boolean
}

interface Held {
  reader: ReturnType<HyphaEngine['snapshot']>
  models: RowModel[]
  sharedDigest: number | undefined
}

/** Thrown by a transaction that changes its mind. */
class Abort extends Error {}

const TABLES = ['rows', 'more rows']
const TRAIL = 30
const HELD_MAX = 5
/** Steps are told as they begin: for runs that hang. */
const TRACE = process.env['HYPHA_TRACE'] !== undefined

type Step = [weight: number, name: string, run: () => void | Promise<void>]

export class ModelDriver {
  readonly #random: SeededRandom
  readonly #keys: string[]
  readonly #models = TABLES.map(() => new RowModel())
  readonly #held: Held[] = []
  readonly #trail: string[] = []
  readonly #pending: Promise<void>[] = []
  #engine!: HyphaEngine
  #tables: Table[] = []
  #shared: Table | undefined
  #step = 0
  #note = ''

  constructor(readonly settings: ModelSettings) {
    this.#random = new SeededRandom(settings.seed)
    const pageSize = settings.engine.pageSize ?? 16384
    this.#keys = keyPool(this.#random, settings.keys, settings.prefix, pageSize / 8 - 16)
  }

  async run(): Promise<void> {
    try {
      await this.#open()
      const steps = this.#steps()
      const total = steps.reduce((sum, [weight]) => sum + weight, 0)
      for (this.#step = 0; this.#step < this.settings.operations; this.#step++) await this.#one(steps, total)
      await this.#finish()
    } catch (error) {
      const { seed, prefix } = this.settings
      const trail = this.#trail.slice(-TRAIL).join('\n  ')
      const text = `seed ${seed}, keys '${prefix}', step ${this.#step}: ${(error as Error).message}; ${this.#secondLook()}\n  ${trail}`
      throw new Error(text, { cause: error })
    }
  }

  /** After a failure: whether it lasts. */
  #secondLook(): string {
    try {
      for (this.#tableIndex = 0; this.#tableIndex < TABLES.length; this.#tableIndex++) {
        this.#models[this.#tableIndex]?.compareAll(this.#engine.latest, this.#table, this.#own())
      }
      return 'a second look finds nothing wrong'
    } catch (error) {
      return `a second look finds: ${(error as Error).message}`
    }
  }

  async #one(steps: Step[], total: number): Promise<void> {
    let dice = this.#random.below(total)
    for (const [weight, name, run] of steps) {
      if ((dice -= weight) >= 0) continue
      this.#note = ''
      this.#trail.push(`${this.#step} ${name}`)
      if (TRACE) writeSync(2, `${this.settings.prefix} ${this.#step} ${name}\n`)
      if (this.#trail.length > TRAIL * 2) this.#trail.splice(0, TRAIL)
      await run()
      this.#trail[this.#trail.length - 1] += this.#note
      return
    }
  }

  #steps(): Step[] {
    const { shared, reopen } = this.settings
    return [
      [30, 'put', () => this.#put()],
      [10, 'delete', () => this.#delete()],
      [25, 'get', () => this.#any().comparePoint(this.#engine.latest, this.#table, this.#key())],
      [12, 'range', () => this.#compareRange(this.#engine.latest, this.#any())],
      [6, 'count', () => this.#any().compareCount(this.#engine.latest, this.#table, this.#range())],
      [12, 'transaction', () => this.#transaction()],
      [8, 'transactionSync', () => this.#transactionSync()],
      [1, 'bulk transaction', () => this.#bulk()],
      [3, 'open snapshot', () => this.#openSnapshot()],
      [12, 'read snapshot', () => this.#readSnapshot()],
      [2, 'close snapshot', () => this.#closeSnapshot(this.#random.below(this.#held.length))],
      [4, 'housekeep', () => this.#engine.housekeep()],
      [1, 'checkpoint', () => this.#engine.checkpoint()],
      [1, 'flushed', () => this.#engine.flushed()],
      [1, 'compare all', () => this.#compareAll()],
      [shared ? 20 : 0, 'shared transfer', () => this.#transfer()],
      [
        shared ? 8 : 0,
        'shared sum',
        () => void checkSum(this.#engine.latest, this.#shared as Table, 'newest', this.#random.chance(0.5)),
      ],
      [reopen ? 1 : 0, 'reopen', () => this.#reopen()],
    ]
  }

  // Choices

  #tableIndex = 0

  get #table(): Table {
    return this.#tables[this.#tableIndex] as Table
  }

  /** Chooses one of the tables; its model. */
  #any(): RowModel {
    this.#tableIndex = this.#random.below(TABLES.length)
    return this.#models[this.#tableIndex] as RowModel
  }

  #key(): string {
    // Some keys are met more often than others.
    const many = this.#random.chance(0.3) ? Math.min(20, this.#keys.length) : this.#keys.length
    return this.#keys[this.#random.below(many)] as string
  }

  #value(): Buffer {
    return randomValue(this.#random, this.settings.engine.pageSize ?? 16384, this.settings.largest)
  }

  /** Everything that is ours. */
  #own(): TextRange {
    const { prefix } = this.settings
    return prefix === '' ? {} : { gte: prefix, lt: String.fromCharCode(prefix.charCodeAt(0) + 1) }
  }

  #range(): TextRange {
    const random = this.#random
    const range = this.#own()
    const low = random.below(4)
    const high = random.below(4)
    if (low >= 2) delete range.gte
    if (low >= 2) range[low === 2 ? 'gte' : 'gt'] = this.#key()
    if (high >= 2) delete range.lt
    if (high >= 2) range[high === 2 ? 'lt' : 'lte'] = this.#key()
    if (random.chance(0.5)) range.reverse = true
    if (random.chance(0.3)) range.limit = random.below(12)
    return range
  }

  #options(): TransactionOptions {
    const random = this.#random
    return {
      isolation: random.chance(0.7) ? 'serializable' : 'snapshot',
      durability: random.chance(0.1) ? 'commit' : random.chance(0.5) ? 'interval' : 'none',
    }
  }

  #compareRange(reader: Reader, model: RowModel): void {
    const most = this.#random.chance(0.2) ? this.#random.below(10) : Number.POSITIVE_INFINITY
    model.compareRange(reader, this.#table, this.#range(), most)
  }

  // Steps

  async #put(): Promise<void> {
    const model = this.#any()
    const key = this.#key()
    const value = this.#value()
    this.#note = ` ${value.length}`
    const written = this.#engine.put(this.#table, bytesOf(key), value, this.#options())
    await this.#settle(written)
    model.set(key, value)
  }

  async #delete(): Promise<void> {
    const model = this.#any()
    const key = this.#key()
    await this.#settle(this.#engine.delete(this.#table, bytesOf(key), this.#options()))
    model.delete(key)
  }

  /** The write is visible when the call returns if nobody holds the latch: alone, that is always so. */
  async #settle(written: Promise<void>): Promise<void> {
    if (this.settings.prefix !== '' || this.settings.engine.housekeeping !== 'none' || this.#random.chance(0.2))
      await written
    else this.#pending.push(written)
    if (this.#pending.length > 10) await Promise.all(this.#pending.splice(0))
  }

  #inside(tx: Transaction, models: RowModel[], rows: number): void {
    for (let i = 0; i < rows; i++) {
      const at = this.#random.below(TABLES.length)
      const model = models[at] as RowModel
      const table = this.#tables[at] as Table
      this.#tableIndex = at
      const dice = this.#random.below(10)
      if (dice < 4) {
        const key = this.#key()
        const value = this.#value()
        tx.put(table, bytesOf(key), value)
        model.set(key, value)
      } else if (dice < 6) {
        const key = this.#key()
        tx.delete(table, bytesOf(key))
        model.delete(key)
      } else if (dice < 8) model.comparePoint(tx, table, this.#key())
      else if (dice === 8) this.#compareRange(tx, model)
      else model.compareCount(tx, table, this.#range())
    }
    if (this.#random.chance(0.2)) throw new Abort()
  }

  #adopt(models: RowModel[] | undefined): void {
    if (models === undefined) return
    for (const [i, model] of models.entries()) this.#models[i] = model
  }

  async #transaction(): Promise<void> {
    const rows = this.#random.between(0, 12)
    let models: RowModel[] | undefined
    const pauses = this.#random.chance(0.3)
    try {
      await this.#engine.transact(async tx => {
        models = this.#models.map(model => model.copy())
        if (pauses) {
          this.#inside(tx, models, rows)
          await new Promise(resolve => setImmediate(resolve))
        }
        this.#inside(tx, models, rows)
      }, this.#options())
      this.#adopt(models)
    } catch (error) {
      if (!(error instanceof Abort)) throw error
      this.#note = ' aborted'
    }
  }

  #transactionSync(): void {
    const rows = this.#random.between(0, 12)
    let models: RowModel[] | undefined
    try {
      this.#engine.transactSync(tx => {
        models = this.#models.map(model => model.copy())
        this.#inside(tx, models, rows)
      }, this.#options())
      this.#adopt(models)
    } catch (error) {
      if (!(error instanceof Abort)) throw error
      this.#note = ' aborted'
    }
  }

  /** More than one record of the log may hold. */
  async #bulk(): Promise<void> {
    const model = this.#any()
    const rows = this.#random.between(20, 200)
    const deletes = this.#random.chance(0.3)
    const changes = new Map<string, Buffer | undefined>()
    for (let i = 0; i < rows; i++) changes.set(this.#key(), deletes ? undefined : this.#value())
    this.#note = ` of ${changes.size}${deletes ? ' deletions' : ''}`
    await this.#engine.transact(tx => {
      for (const [key, value] of changes) {
        if (value === undefined) tx.delete(this.#table, bytesOf(key))
        else tx.put(this.#table, bytesOf(key), value)
      }
    }, this.#options())
    for (const [key, value] of changes) value === undefined ? model.delete(key) : model.set(key, value)
  }

  #openSnapshot(): void {
    if (this.#held.length >= HELD_MAX) this.#closeSnapshot(0)
    const reader = this.#engine.snapshot()
    const models = this.#models.map(model => model.copy())
    const sharedDigest = this.#shared === undefined ? undefined : checkSum(reader, this.#shared, 'a new snapshot')
    this.#held.push({ reader, models, sharedDigest })
  }

  #readSnapshot(): void {
    if (this.#held.length === 0) return
    const held = this.#random.pick(this.#held)
    this.#note = ` ${held.reader.sequence}`
    this.#any()
    const model = held.models[this.#tableIndex] as RowModel
    const dice = this.#random.below(8)
    if (dice < 3) model.comparePoint(held.reader, this.#table, this.#key())
    else if (dice < 5) this.#compareRange(held.reader, model)
    else if (dice < 6) model.compareCount(held.reader, this.#table, this.#range())
    else if (dice < 7) model.compareAll(held.reader, this.#table, this.#own())
    else this.#checkShared(held)
  }

  #checkShared(held: Held): void {
    if (this.#shared === undefined || held.sharedDigest === undefined) return
    const digest = checkSum(held.reader, this.#shared, `snapshot ${held.reader.sequence}`, this.#random.chance(0.5))
    if (digest !== held.sharedDigest)
      throw new Error(`snapshot ${held.reader.sequence} shows other shared rows than at first`)
  }

  #closeSnapshot(at: number): void {
    for (const held of this.#held.splice(at, 1)) held.reader.close()
  }

  #compareAll(): void {
    this.#any().compareAll(this.#engine.latest, this.#table, this.#own())
  }

  async #transfer(): Promise<void> {
    const table = this.#shared as Table
    if (this.#random.chance(0.5)) this.#engine.transactSync(tx => transfer(tx, table, this.#random), this.#options())
    else await this.#engine.transact(tx => transfer(tx, table, this.#random), this.#options())
  }

  // Life

  async #open(): Promise<void> {
    this.#engine = await openEngine(this.settings.directory, this.settings.engine)
    this.#tables = TABLES.map(name => this.#engine.openTable(name))
    this.#shared = this.settings.shared ? this.#engine.openTable(SHARED_TABLE) : undefined
  }

  async #reopen(): Promise<void> {
    await this.#close()
    await this.#open()
    for (this.#tableIndex = 0; this.#tableIndex < TABLES.length; this.#tableIndex++) {
      this.#models[this.#tableIndex]?.compareAll(this.#engine.latest, this.#table, this.#own())
    }
    this.#tableIndex = 0
  }

  async #close(): Promise<void> {
    await Promise.all(this.#pending.splice(0))
    for (const held of this.#held) {
      for (const [i, model] of held.models.entries())
        model.compareAll(held.reader, this.#tables[i] as Table, this.#own())
      this.#checkShared(held)
    }
    while (this.#held.length > 0) this.#closeSnapshot(0)
    await this.#engine.close()
  }

  async #finish(): Promise<void> {
    await this.#reopen()
    const report = await this.#engine.verify()
    if (report.faults.length > 0) {
      throw new Error(`verify: ${report.faults.length} faults, such as ${JSON.stringify(report.faults.slice(0, 4))}`)
    }
    await this.#close()
  }
}
