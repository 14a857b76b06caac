/** One process of the document test: random writes to documents of its own, which it can check exactly. */
import { isDeepStrictEqual } from 'node:util'
import { type Collection, type Database, type Document, isHyphaError } from 'hyphadb'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import { openDatabase } from 'hyphadb/internal/documents/database.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { argument, report, runPeer } from './processes.js'

export interface DocumentsWork {
  directory: string
  engine: InternalOptions
  process: number
  seed: number
  operations: number
}

export const THINGS = 'things'
const IDS = 60

export const indexes = {
  byTags: { on: ['tags'] },
  byTown: { on: ['town', 'price'] },
  byDeed: { on: ['deed'], unique: true },
  byNote: { on: ['note'], sparse: true },
  byInner: { on: ['inner.x', 'town'] },
}

/** The collection over an engine with options that only tests set. */
export async function openThings(
  directory: string,
  options: InternalOptions,
): Promise<{ db: Database; things: Collection }> {
  const db = await openDatabase(() => openEngine(directory, options))
  return { db, things: db.collection(THINGS, { indexes }) }
}

const towns = ['LEEDS', 'YORK', 'LEE', 'leeds', 'ÅS']
const tags = ['old', 'rare', 'new', 'cheap', 'big']

export function randomDocument(random: SeededRandom, id: string): Document {
  const document: Document = { id, deed: random.below(2000) }
  if (random.chance(0.8)) document['town'] = random.pick(towns)
  if (random.chance(0.8)) document['price'] = random.chance(0.1) ? null : random.below(50)
  if (random.chance(0.7)) document['tags'] = random.shuffle([...tags]).slice(0, random.below(4))
  if (random.chance(0.1)) document['tags'] = random.pick(tags)
  if (random.chance(0.3)) document['note'] = `note ${random.below(10)}`
  if (random.chance(0.5))
    document['inner'] = random.chance(0.2) ? [{ x: random.below(5) }, { x: 'y' }] : { x: random.below(5), z: [1, null] }
  if (random.chance(0.1)) document['when'] = new Date(random.below(1e6))
  if (random.chance(0.05)) document['long'] = 'x'.repeat(random.between(2000, 30_000))
  return document
}

class GivenUp extends Error {}

class DocumentsDriver {
  readonly #random: SeededRandom
  readonly #model = new Map<string, Document>()
  duplicates = 0

  constructor(
    readonly work: DocumentsWork,
    readonly db: Database,
    readonly things: Collection,
  ) {
    this.#random = new SeededRandom(work.seed)
  }

  #id(): string {
    return `${this.work.process} ${this.#random.below(IDS)}`
  }

  async run(): Promise<void> {
    for (let step = 0; step < this.work.operations; step++) {
      try {
        await this.#step()
      } catch (error) {
        if (!isHyphaError(error, 'HYPHA_DUPLICATE')) {
          throw new Error(`seed ${this.work.seed}, step ${step}: ${(error as Error).message}`, { cause: error })
        }
        this.duplicates++
      }
    }
    for (let i = 0; i < IDS; i++) this.#check(`${this.work.process} ${i}`)
  }

  async #step(): Promise<void> {
    const random = this.#random
    const id = this.#id()
    const dice = random.below(20)
    if (dice < 6) {
      const document = randomDocument(random, id)
      await this.things.put(document, { durability: 'none' })
      this.#model.set(id, document)
    } else if (dice < 8) await this.#insert(id)
    else if (dice < 11) await this.#update(id)
    else if (dice < 14) {
      const removed = await this.things.delete(id, { durability: 'none' })
      if (removed !== this.#model.delete(id)) throw new Error(`delete said ${removed} of ${id}`)
    } else if (dice < 17) await this.#several()
    else this.#check(id)
  }

  async #insert(id: string): Promise<void> {
    const document = randomDocument(this.#random, id)
    const isTaken = this.#model.has(id)
    await this.things.insert(document, { durability: 'none' })
    if (isTaken) throw new Error(`insert replaced ${id}`)
    this.#model.set(id, document)
  }

  async #update(id: string): Promise<void> {
    const known = this.#model.get(id)
    if (known === undefined) return
    const change = this.#random.chance(0.5)
      ? { price: this.#random.below(50) }
      : { deed: this.#random.below(2000), tags: ['new'] }
    const changed = await this.things.update(id, change, { durability: 'none' })
    if (!isDeepStrictEqual(changed, { ...known, ...change })) throw new Error(`update of ${id} gave something else`)
    this.#model.set(id, { ...known, ...change })
  }

  /** Several documents in one transaction: all of them or none. */
  async #several(): Promise<void> {
    let changes = new Map<string, Document | undefined>()
    try {
      await this.db.transaction(
        tx => {
          changes = new Map()
          const things = tx.collection(THINGS)
          for (let i = this.#random.between(1, 6); i > 0; i--) {
            const id = this.#id()
            if (this.#random.chance(0.3)) {
              things.delete(id)
              changes.set(id, undefined)
            } else {
              const document = randomDocument(this.#random, id)
              things.put(document)
              changes.set(id, document)
            }
          }
          if (this.#random.chance(0.2)) throw new GivenUp()
        },
        { durability: 'none', isolation: this.#random.chance(0.5) ? 'serializable' : 'snapshot' },
      )
    } catch (error) {
      if (error instanceof GivenUp) return
      throw error
    }
    for (const [id, document] of changes)
      document === undefined ? this.#model.delete(id) : this.#model.set(id, document)
  }

  #check(id: string): void {
    const found = this.things.get(id)
    if (!isDeepStrictEqual(found, this.#model.get(id)))
      throw new Error(`${id} is ${JSON.stringify(found)}, not ${JSON.stringify(this.#model.get(id))}`)
  }
}

async function main(): Promise<void> {
  const work = argument<DocumentsWork>()
  const { db, things } = await openThings(work.directory, work.engine)
  const driver = new DocumentsDriver(work, db, things)
  await driver.run()
  await report(driver.duplicates)
  await db.close()
}

if (process.argv[2] !== undefined && process.send !== undefined) runPeer(main)
