/** What the members of a crew do all day: each role is a loop that gives way after every step. */

import { isHyphaError } from 'hyphadb/internal/base/errors.js'
import { InjectedFault } from 'hyphadb/internal/base/fault-points.js'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { Snapshot } from 'hyphadb/internal/engine/api.js'
import { checkOwnRows, checkTotals, fingerprint, type Opened } from './checks.js'
import { importBatch, lastBatch, openCollections } from './imports.js'
import { Journal } from './journal.js'
import type { MemberConfig } from './protocol.js'
import type { Stalls } from './stalls.js'
import { applyTransaction, readState } from './workload.js'

export interface Duty {
  /** One step of the role; ends soon. */
  step(): Promise<void>
  close(): void
}

const ERRORS_MAX = 10

/** Runs a duty until it is paused. */
export class Shift {
  readonly errors: string[] = []
  busy = 0
  #running = false
  #ended: Promise<void> = Promise.resolve()

  constructor(readonly duty: Duty) {}

  begin(): void {
    if (this.#running) return
    this.#running = true
    this.#ended = this.#run()
  }

  async pause(): Promise<void> {
    this.#running = false
    await this.#ended
  }

  async #run(): Promise<void> {
    while (this.#running) {
      try {
        await this.duty.step()
      } catch (error) {
        this.#note(error)
        await new Promise(resolve => setTimeout(resolve, 5))
      }
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  #note(error: unknown): void {
    if (isHyphaError(error, 'HYPHA_BUSY')) this.busy++
    else if (this.errors.length < ERRORS_MAX)
      this.errors.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
}

/** True for what a test put in, and for errors that it caused. */
export function isInjected(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (
      cause instanceof InjectedFault ||
      (cause instanceof RangeError && /call stack|allocation failed/.test(cause.message))
    )
      return true
  }
  return false
}

/** Writes the ledger, one transaction after the other, each in another of the ways there are. */
export class Writer implements Duty {
  readonly #journal: Journal
  readonly #random: SeededRandom
  #checkpoint: Promise<void> | undefined

  constructor(
    readonly opened: Opened,
    readonly config: MemberConfig,
    readonly stalls: Stalls,
  ) {
    this.#journal = new Journal(config.journals, 'writer', config.name)
    this.#random = new SeededRandom(process.pid ^ config.seed)
  }

  async step(): Promise<void> {
    await this.write(this.#random.pick(['commit', 'none', 'sync', 'none']))
    if (this.config.care === true) await this.#care()
  }

  /** The next transaction: which one it is, the database knows. */
  async write(way: 'commit' | 'none' | 'sync'): Promise<void> {
    const { engine, tables, seed } = this.opened
    const { name } = this.config
    const number = readState(engine.latest, tables, name).number + 1
    this.#journal.started(number)
    if (way === 'sync') {
      this.stalls.run('transactSync', () => {
        engine.transactSync(tx => applyTransaction(tx, tables, seed, name, number), { durability: 'none' })
      })
    } else {
      await this.stalls.wait(`transact ${way}`, () =>
        engine.transact(tx => applyTransaction(tx, tables, seed, name, number), { durability: way }),
      )
    }
    this.#journal.acknowledged(number)
  }

  /** What a housekeeper would do, here, so that its fault points are passed by this thread. */
  async #care(): Promise<void> {
    const { engine } = this.opened
    const dice = this.#random.below(24)
    if (dice < 6) this.stalls.run('housekeep', () => engine.housekeep())
    if (dice === 7 && this.#checkpoint === undefined) {
      this.#checkpoint = engine.checkpoint().then(
        () => {
          this.#checkpoint = undefined
        },
        (error: unknown) => {
          this.#checkpoint = undefined
          if (!isInjected(error) && !isHyphaError(error, 'HYPHA_BUSY')) this.careFailed = error
        },
      )
    }
    if (this.careFailed !== undefined) {
      const failed = this.careFailed
      this.careFailed = undefined
      throw failed
    }
    if (dice === 8) this.stalls.run('scan', () => checkTotals(engine.latest, this.opened.tables))
  }

  careFailed: unknown

  /** Waits for a checkpoint that is under way. */
  async settled(): Promise<void> {
    await this.#checkpoint
  }

  close(): void {
    this.#journal.close()
  }
}

/** Imports documents in batches. */
export class Importer implements Duty {
  readonly #journal: Journal
  #opened = false

  constructor(
    readonly opened: Opened,
    readonly config: MemberConfig,
    readonly stalls: Stalls,
  ) {
    this.#journal = new Journal(config.journals, 'importer', config.name)
  }

  async step(): Promise<void> {
    const { db } = this.opened
    if (!this.#opened) {
      openCollections(db)
      this.#opened = true
    }
    const batch = lastBatch(db.collection('imports'), this.config.name) + 1
    this.#journal.started(batch)
    await this.stalls.wait('import', () =>
      importBatch(db, this.config.name, batch, batch % 3 === 0 ? 'commit' : 'none'),
    )
    this.#journal.acknowledged(batch)
  }

  close(): void {
    this.#journal.close()
  }
}

/** Takes snapshots and looks whether they make sense; keeps one for a while and looks whether it stays the same. */
export class Reader implements Duty {
  #held: Snapshot | undefined
  #heldPrint = 0
  #rounds = 0

  constructor(
    readonly opened: Opened,
    readonly stalls: Stalls,
  ) {}

  step(): Promise<void> {
    const { engine, tables } = this.opened
    const snapshot = engine.snapshot()
    try {
      const problems = this.stalls.run('scan', () => checkTotals(snapshot, tables))
      for (const writer of this.#writers(snapshot)) {
        problems.push(...this.stalls.run('scan', () => checkOwnRows(snapshot, tables, writer)))
      }
      if (problems.length > 0) throw new Error(problems.join('\n'))
    } finally {
      snapshot.close()
    }
    this.#lookAtHeld()
    return Promise.resolve()
  }

  #writers(snapshot: Snapshot): string[] {
    const writers: string[] = []
    const cursor = snapshot.range(this.opened.tables.writers, {})
    while (cursor.next()) writers.push(Buffer.from(cursor.key()).toString())
    cursor.close()
    const chosen = writers[this.#rounds % Math.max(1, writers.length)]
    return chosen === undefined ? [] : [chosen]
  }

  #lookAtHeld(): void {
    const { engine, tables } = this.opened
    if (this.#rounds++ % 12 === 0) {
      this.#held?.close()
      this.#held = engine.snapshot()
      this.#heldPrint = fingerprint(this.#held, tables)
      return
    }
    const held = this.#held
    if (held === undefined || this.#rounds % 4 !== 0) return
    const print = this.stalls.run('scan', () => fingerprint(held, tables))
    if (print !== this.#heldPrint)
      throw new Error(`a snapshot at ${held.sequence} has changed: ${this.#heldPrint} became ${print}`)
  }

  close(): void {
    this.#held?.close()
  }
}

/** Has the database open and does nothing. */
export class Idler implements Duty {
  async step(): Promise<void> {
    await new Promise(resolve => setTimeout(resolve, 10))
  }

  close(): void {}
}
