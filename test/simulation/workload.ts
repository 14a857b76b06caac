/**
 * A seeded workload on one engine: rows small and large, written, deleted, alone and in transactions that fit the log ring
 * and that do not; tables made and dropped; checkpoints, housekeeping, snapshots held; awaited and not. It keeps the
 * history of what was committed and how far the promises have been kept.
 */
import type { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import type { Durability, Snapshot, Table } from 'hyphadb/internal/txn/api.js'
import type { Effect, History } from './model.js'

const TABLES = ['apples', 'pears', 'plums']
const KEYS = 60
const ANY_VALUE = Buffer.from('any value')
const BULK_TABLE = 'bulk'
const BULK_ROWS = 40
const BULK_KEYS = 400

export class Workload {
  /** Every commit up to this sequence was awaited, or called durable otherwise. */
  acknowledged = 0
  #pending: Effect[] = []
  readonly #waiting = new Set<Promise<void>>()
  #snapshots: { snapshot: Snapshot; sequence: number }[] = []
  failure: unknown
  /** Inside a step with far more operations than others. */
  inBulk = false

  constructor(
    readonly engine: HyphaEngine,
    readonly history: History,
    readonly random: SeededRandom,
    /** Some steps write hundreds of blocks at once or drop them all, so that the data file grows and shrinks. */
    readonly bulky: boolean,
  ) {}

  get #visible(): number {
    return this.engine.core.committer.visible
  }

  /**
   * Writes down what has become visible, in the middle of a step too: `sequence` may be one more than the step's effects
   * account for, never less.
   */
  observe(): number {
    const visible = this.#visible
    if (visible > this.history.last) {
      this.history.committed(visible, this.#pending)
      this.#pending = []
    }
    return visible
  }

  /** One step. The effects are announced before the commit, so that whoever looks in between can account for them. */
  async step(): Promise<void> {
    const { random } = this
    const choice = random.below(100)
    if (this.bulky && choice % 8 === 0) await this.#bulk()
    else if (choice < 6) await this.#writeDuringSync()
    else if (choice < 30) await this.#put(random.bytes(random.below(120)))
    else if (choice < 42) await this.#delete()
    else if (choice < 52) await this.#put(random.bytes(random.between(1000, 24_000)))
    else if (choice < 68) await this.#transaction(random.between(2, 6), 100)
    else if (choice < 72) await this.#transaction(random.between(20, 60), 900)
    else if (choice < 77) this.#changeTables()
    else if (choice < 82) await this.#checkpoint()
    else if (choice < 90) this.engine.housekeep()
    else if (choice < 94) await this.#flushed()
    else this.#changeSnapshots()
    this.observe()
    this.#pending = []
    if (this.failure !== undefined) throw this.failure
  }

  /** Waits for all that was promised. */
  async settle(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.all(this.#waiting)
    if (this.failure !== undefined) throw this.failure
    for (const { snapshot } of this.#snapshots) snapshot.close()
    this.#snapshots = []
  }

  #table(): Table {
    const name = this.random.pick(TABLES)
    const known = this.engine.lookupTable(name)
    if (known !== undefined) return known
    this.#announce([{ kind: 'create', table: name }])
    const made = this.engine.openTable(name)
    this.observe()
    return made
  }

  #key(): string {
    const n = this.random.below(KEYS)
    return n % 7 === 0 ? `${'long'.repeat(20)}${n}` : `key${n}`
  }

  #announce(effects: Effect[]): void {
    this.#pending = effects
  }

  #promised(promise: Promise<void>, durability: Durability): void | Promise<void> {
    const sequence = this.observe()
    const settled = promise.then(
      () => {
        if (durability === 'commit') this.acknowledged = Math.max(this.acknowledged, sequence)
      },
      error => {
        this.failure ??= error
      },
    )
    this.#waiting.add(settled)
    void settled.then(() => this.#waiting.delete(settled))
    if (this.random.chance(0.4)) return settled
  }

  async #put(value: Buffer): Promise<void> {
    const table = this.#table()
    const key = this.#key()
    const durability = this.#durability()
    this.#announce([{ kind: 'row', table: table.name, key, value }])
    await this.#promised(this.engine.put(table, Buffer.from(key, 'latin1'), value, { durability }), durability)
  }

  async #delete(): Promise<void> {
    const table = this.#table()
    const key = this.#key()
    const durability = this.#durability()
    this.#announce([{ kind: 'row', table: table.name, key, value: undefined }])
    await this.#promised(this.engine.delete(table, Buffer.from(key, 'latin1'), { durability }), durability)
  }

  /** More is written to the log while a sync is under way, which that sync does not cover. */
  async #writeDuringSync(): Promise<void> {
    const table = this.#table()
    const key = this.#key()
    this.#announce([{ kind: 'row', table: table.name, key, value: ANY_VALUE }])
    const first = this.engine.put(table, Buffer.from(key, 'latin1'), ANY_VALUE, { durability: 'commit' })
    void this.#promised(first, 'commit')
    for (let turn = this.random.below(4); turn > 0; turn--) await new Promise(resolve => setImmediate(resolve))
    await this.#put(this.random.bytes(this.random.between(100, 9000)))
    this.observe()
    this.engine.core.log.write()
    await first
  }

  #durability(): Durability {
    return this.random.pick(['commit', 'commit', 'interval', 'none'])
  }

  async #transaction(operations: number, valueBytes: number): Promise<void> {
    const { random } = this
    const tables = [this.#table(), this.#table()]
    const effects: Effect[] = []
    for (let i = 0; i < operations; i++) {
      const value = random.chance(0.2) ? undefined : random.bytes(random.below(valueBytes))
      effects.push({ kind: 'row', table: random.pick(tables).name, key: this.#key(), value })
    }
    const durability = this.#durability()
    this.#announce(effects)
    const work = (tx: Parameters<Parameters<HyphaEngine['transactSync']>[0]>[0]): void => {
      for (const effect of effects) {
        if (effect.kind !== 'row') continue
        const table = tables.find(candidate => candidate.name === effect.table) as Table
        if (effect.value === undefined) tx.delete(table, Buffer.from(effect.key, 'latin1'))
        else tx.put(table, Buffer.from(effect.key, 'latin1'), effect.value)
      }
    }
    const before = this.#visible
    if (random.chance(0.5)) {
      this.engine.transactSync(work, { durability })
      const sequence = this.observe()
      if (durability === 'commit' && sequence > before) this.acknowledged = Math.max(this.acknowledged, sequence)
    } else {
      await this.#promised(this.engine.transact(work, { durability }), durability)
    }
  }

  /** Fills a table of its own with large values, or drops it and lets the file shrink. */
  async #bulk(): Promise<void> {
    const { engine, random } = this
    this.inBulk = true
    const known = engine.lookupTable(BULK_TABLE)
    if (known !== undefined && random.chance(0.3)) {
      this.#announce([{ kind: 'drop', table: BULK_TABLE }])
      engine.dropTable(known)
      this.observe()
      for (let round = 0; round < 6; round++) {
        engine.housekeep()
        await engine.checkpoint()
      }
    } else {
      if (known === undefined) this.#announce([{ kind: 'create', table: BULK_TABLE }])
      const table = engine.openTable(BULK_TABLE)
      this.observe()
      for (let n = 0; n < BULK_ROWS; n++) {
        const key = `bulk${random.below(BULK_KEYS)}`
        const value = Buffer.alloc(random.between(8000, 24_000), n)
        this.#announce([{ kind: 'row', table: BULK_TABLE, key, value }])
        void this.#promised(engine.put(table, Buffer.from(key), value, { durability: 'none' }), 'none')
        this.observe()
      }
    }
    this.inBulk = false
  }

  #changeTables(): void {
    const { engine, random } = this
    const table = random.pick(engine.tables().concat(this.#table()))
    if (!random.chance(0.6)) return
    this.#announce([{ kind: 'drop', table: table.name }])
    engine.dropTable(table)
  }

  async #checkpoint(): Promise<void> {
    await this.engine.checkpoint()
  }

  async #flushed(): Promise<void> {
    const sequence = this.observe()
    await this.engine.flushed()
    this.acknowledged = Math.max(this.acknowledged, sequence)
  }

  #changeSnapshots(): void {
    if (this.#snapshots.length < 3) {
      const snapshot = this.engine.snapshot()
      this.#snapshots.push({ snapshot, sequence: snapshot.sequence })
    } else this.#snapshots.shift()?.snapshot.close()
  }
}
