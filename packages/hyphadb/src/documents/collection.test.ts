import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { HyphaError } from '../base/errors.js'
import { type Database, openDatabase } from './database.js'
import { FakeEngine } from './fake-engine.test-support.js'

async function open(engine = new FakeEngine()): Promise<{ db: Database; engine: FakeEngine }> {
  return { db: await openDatabase(async () => engine), engine }
}

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof HyphaError) return `${error.code} ${error.message}`
    throw error
  }
  return 'nothing thrown'
}

async function rejection(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof HyphaError ? `${error.code} ${error.message}` : String(error)),
  )
}

interface Sale {
  id: string | number
  town?: string
  price?: number
  tags?: string[]
}

describe('a collection', () => {
  it('gives back what was put, before the promise resolves', async () => {
    const { db } = await open()
    const sales = db.collection<Sale>('sales')
    const promise = sales.put({ id: 1, town: 'LEEDS', price: 5 })
    expect(sales.get(1)).toEqual({ id: 1, town: 'LEEDS', price: 5 })
    expect(await promise).toBe(1)
    expect(sales.get(2)).toBeUndefined()
  })

  it('makes ids in time order when documents bring none, and gives them back', async () => {
    const { db } = await open()
    const notes = db.collection<{ id?: string; n: number }>('notes')
    const ids = await notes.insertMany([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect([...ids].sort()).toEqual(ids)
    expect(new Set(ids).size).toBe(3)
    expect(
      notes
        .find()
        .toArray()
        .map(note => note.n),
    ).toEqual([1, 2, 3])
    expect(notes.get(ids[1])).toEqual({ id: ids[1], n: 2 })
  })

  it('refuses to insert over a document, and put replaces it', async () => {
    const { db } = await open()
    const sales = db.collection<Sale>('sales')
    await sales.insert({ id: 'a', price: 1 })
    expect(await rejection(sales.insert({ id: 'a', price: 2 }))).toMatch(/^HYPHA_DUPLICATE .*sales.*"a"/)
    await sales.put({ id: 'a', price: 3 })
    expect(sales.get('a')).toEqual({ id: 'a', price: 3 })
  })

  it('updates by fields or by function, and refuses to move a document or to make one', async () => {
    const { db } = await open()
    const sales = db.collection<Sale>('sales')
    await sales.put({ id: 1, town: 'LEEDS', price: 1 })
    expect(await sales.update(1, { price: 2 })).toEqual({ id: 1, town: 'LEEDS', price: 2 })
    expect(await sales.update(1, sale => ({ id: sale.id, price: (sale.price ?? 0) + 1 }))).toEqual({ id: 1, price: 3 })
    expect(sales.get(1)).toEqual({ id: 1, price: 3 })
    expect(await rejection(sales.update(1, { id: 2 }))).toMatch(/^HYPHA_INVALID .*unchanged/)
    expect(await rejection(sales.update(9, { price: 2 }))).toMatch(/^HYPHA_NOT_FOUND/)
  })

  it('deletes, saying whether there was something', async () => {
    const { db } = await open()
    const sales = db.collection<Sale>('sales', { indexes: { byTown: { on: ['town'] } } })
    await sales.put({ id: 1, town: 'LEEDS' })
    expect(await sales.delete(1)).toBe(true)
    expect(await sales.delete(1)).toBe(false)
    expect(sales.count({ town: 'LEEDS' })).toBe(0)
  })

  it('names no field of the second and later documents of a shape in its bytes', async () => {
    const { db, engine } = await open()
    const things = db.collection('things')
    for (let i = 0; i < 5; i++) await things.put({ id: i, remarkableFieldName: i, other: { innerFieldName: 'x' } })
    const table = engine.lookupTable('things')
    const bytes = engine.rowsOf(table as NonNullable<typeof table>).list.map(row => row.value.toString('latin1'))
    expect(bytes.filter(text => text.includes('remarkableFieldName') || text.includes('innerFieldName')).length).toBe(1)
    expect(
      things
        .find()
        .toArray()
        .map(thing => thing.remarkableFieldName),
    ).toEqual([0, 1, 2, 3, 4])
  })

  it('is read by another process that has never seen its shapes', async () => {
    const { db, engine } = await open()
    const things = db.collection('things', { indexes: { byA: { on: ['a'] } } })
    const documents = Array.from({ length: 40 }, (_, i) => ({ id: i, a: i % 3, b: { c: [i, { d: 'x' }] } }))
    await things.putMany(documents)
    const other = (await open(engine)).db
    expect(other.collection('things').get(7)).toEqual(documents[7])
    expect(other.collection('things').find({ a: 1 }).toArray()).toEqual(documents.filter(document => document.a === 1))
  })

  it('lets two processes create the same shape at once without losing either document', async () => {
    const engine = new FakeEngine()
    const one = (await open(engine)).db.collection('things')
    const two = (await open(engine)).db.collection('things')
    await one.put({ id: 1, x: 1, y: 1 })
    await two.put({ id: 2, x: 1, y: 1 })
    engine.beforeNextCommit = () => void two.put({ id: 4, x: 1, y: 1 })
    const attempts = engine.attempts
    await one.put({ id: 3, x: 1, y: 1 })
    expect(engine.attempts - attempts).toBeLessThanOrEqual(3)
    const third = (await open(engine)).db.collection('things')
    expect(
      third
        .find()
        .toArray()
        .map(thing => thing.id),
    ).toEqual([1, 2, 3, 4])
  })

  it('stores a shape again when the transaction that was to store it came to nothing', async () => {
    const { db, engine } = await open()
    const things = db.collection('things')
    const failed = db.transaction(tx => {
      for (let id = 0; id < 3; id++) tx.collection('things').put({ id, x: 1, y: { z: 2 } })
      throw new Error('no')
    })
    expect(await rejection(failed)).toBe('Error: no')
    await things.put({ id: 7, x: 1, y: { z: 2 } })
    expect((await open(engine)).db.collection('things').get(7)).toEqual({ id: 7, x: 1, y: { z: 2 } })
  })

  it('validates and transforms by a schema, and names the path that does not fit', async () => {
    const { db } = await open()
    const schema = z.object({ id: z.number(), price: z.coerce.number(), at: z.object({ town: z.string() }) })
    const sales = db.collection('sales', { schema })
    await sales.put({ id: 1, price: '12', at: { town: 'LEEDS' } })
    expect(sales.get(1)?.price).toBe(12)
    const bad = { id: 2, price: 1, at: { town: 5 as unknown as string } }
    expect(await rejection(sales.put(bad))).toMatch(/^HYPHA_INVALID .*at\.town/)
    expect(await rejection(sales.update(1, { at: { town: 5 as unknown as string } }))).toMatch(
      /^HYPHA_INVALID .*at\.town/,
    )
    expect(codeOf(() => db.transactionSync(tx => tx.collection('sales').put(bad)))).toMatch(/^HYPHA_INVALID .*at\.town/)
    expect(sales.count()).toBe(1)
  })

  it('awaits an asynchronous schema, and refuses it where nothing can be awaited', async () => {
    const { db } = await open()
    const schema = z.object({ id: z.number(), name: z.string().refine(async name => name !== 'no') })
    const people = db.collection('people', { schema })
    await people.put({ id: 1, name: 'yes' })
    expect(await rejection(people.put({ id: 2, name: 'no' }))).toMatch(/^HYPHA_INVALID/)
    expect(await people.update(1, { name: 'also' })).toEqual({ id: 1, name: 'also' })
    expect(await rejection(people.update(1, { name: 'no' }))).toMatch(/^HYPHA_INVALID/)
    expect(codeOf(() => db.transactionSync(tx => tx.collection('people').put({ id: 3, name: 'yes' })))).toMatch(
      /^HYPHA_INVALID .*asynchronously/,
    )
    expect(people.find().toArray()).toEqual([{ id: 1, name: 'also' }])
  })

  it('keeps its key field, and refuses to be opened with another', async () => {
    const { db, engine } = await open()
    const people = db.collection<{ email: string; n: number }>('people', { key: 'email' })
    await people.put({ email: 'a@b', n: 1 })
    expect((await open(engine)).db.collection('people').get('a@b')).toEqual({ email: 'a@b', n: 1 })
    const other = (await open(engine)).db
    expect(codeOf(() => other.collection('people', { key: 'id' }))).toMatch(/^HYPHA_INVALID .*'email'/)
    expect(codeOf(() => other.collection('people', { keys: 'id' } as object))).toMatch(/^HYPHA_INVALID .*'keys'/)
    expect(codeOf(() => other.table('people'))).toMatch(/^HYPHA_INVALID .*collection/)
  })

  it('runs again after a conflict and then stores the document once', async () => {
    const { db, engine } = await open()
    const sales = db.collection<Sale>('sales', { indexes: { byTown: { on: ['town'] } } })
    engine.conflictsToInject = 3
    await sales.insert({ id: 1, town: 'LEEDS' })
    expect(sales.find({ town: 'LEEDS' }).toArray()).toEqual([{ id: 1, town: 'LEEDS' }])
  })

  it('writes only index entries that change', async () => {
    const { db, engine } = await open()
    const sales = db.collection<Sale>('sales', { indexes: { byTown: { on: ['town'] }, byPrice: { on: ['price'] } } })
    await sales.put({ id: 1, town: 'LEEDS', price: 1 })
    await sales.put({ id: 1, town: 'LEEDS', price: 2 })
    await sales.put({ id: 1, town: 'LEEDS', price: 3 })
    expect(engine.lastWrites.filter(write => write.derived).length).toBe(2)
    expect(engine.lastWrites.filter(write => !write.derived).length).toBe(1)
    expect(sales.find({ price: { $lte: 2 } }).toArray()).toEqual([])
  })
})

describe('transactions', () => {
  it('see their own writes, in indexes too, and leave nothing behind when they throw', async () => {
    const { db } = await open()
    const accounts = db.collection<{ id: number; balance: number }>('accounts', {
      indexes: { byBalance: { on: ['balance'] } },
    })
    await accounts.putMany([
      { id: 1, balance: 100 },
      { id: 2, balance: 0 },
    ])
    const moved = await db.transaction(tx => {
      const own = tx.collection<{ id: number; balance: number }>('accounts')
      own.update(1, { balance: 60 })
      own.update(2, account => ({ ...account, balance: account.balance + 40 }))
      expect(own.find({ balance: { $gte: 50 } }).toArray()).toEqual([{ id: 1, balance: 60 }])
      expect(own.count({ balance: 40 })).toBe(1)
      return own.get(1)
    })
    expect(moved).toEqual({ id: 1, balance: 60 })
    expect(
      await rejection(
        db.transaction(async tx => {
          tx.collection('accounts').delete(1)
          await Promise.resolve()
          throw new Error('no')
        }),
      ),
    ).toBe('Error: no')
    expect(accounts.find({ balance: { $gt: 0 } }).toArray().length).toBe(2)
  })

  it('refuse use after their end, and promises where nothing waits for them', async () => {
    const { db } = await open()
    let kept: { put(document: object): unknown } | undefined
    db.transactionSync(tx => {
      kept = tx.collection('things')
      kept.put({ id: 1 })
    })
    expect(codeOf(() => kept?.put({ id: 2 }))).toMatch(/^HYPHA_CLOSED/)
    expect(codeOf(() => db.transactionSync(async tx => tx.collection('things').put({ id: 3 })))).toMatch(
      /^HYPHA_INVALID .*promise/,
    )
    expect(db.collection('things').count()).toBe(1)
  })

  it('create the collection that they write first', async () => {
    const { db } = await open()
    await db.transaction(tx => {
      expect(tx.collection('fresh').get(1)).toBeUndefined()
      expect(tx.collection('fresh').find().toArray()).toEqual([])
      tx.collection('fresh').put({ id: 1 })
    })
    expect(db.collection('fresh').count()).toBe(1)
  })
})

describe('snapshots', () => {
  it('stay the same whatever is written, and indexes made later are not used by them', async () => {
    const { db, engine } = await open()
    const sales = db.collection<Sale>('sales', { indexes: { byTown: { on: ['town'] } } })
    await sales.putMany([
      { id: 1, town: 'LEEDS', price: 1 },
      { id: 2, town: 'YORK', price: 2 },
    ])
    const snapshot = db.snapshot()
    const then = snapshot.collection<Sale>('sales')
    await sales.update(1, { town: 'YORK' })
    await sales.createIndex('byPrice', { on: ['price'] })
    await sales.delete(2)
    expect(then.find({ town: 'LEEDS' }).toArray()).toEqual([{ id: 1, town: 'LEEDS', price: 1 }])
    expect(then.count({ town: 'YORK' })).toBe(1)
    expect(then.find({ price: { $gt: 0 } }).toArray().length).toBe(2)
    expect(then.get(2)).toEqual({ id: 2, town: 'YORK', price: 2 })
    snapshot.close()
    expect(sales.explain({ price: { $gt: 0 } }).index).toBe('byPrice')
    expect(engine.openSnapshots).toBe(0)
  })
})

describe('iterators', () => {
  it('close themselves at the end, on break, on an error and by using', async () => {
    const { db, engine } = await open()
    const things = db.collection('things')
    await things.putMany(Array.from({ length: 10 }, (_, id) => ({ id })))
    expect(things.find().toArray().length).toBe(10)
    for (const thing of things.find()) if (thing.id === 3) break
    expect(() => {
      for (const thing of things.find()) throw new Error(String(thing.id))
    }).toThrow('0')
    for await (const thing of things.find()) if (thing.id === 3) break
    {
      using iterator = things.find()[Symbol.iterator]()
      iterator.next()
      expect(engine.openSnapshots).toBe(1)
    }
    expect(engine.openSnapshots).toBe(0)
  })

  it('give way while they run asynchronously', async () => {
    const { db } = await open()
    const things = db.collection('things')
    await things.putMany(Array.from({ length: 3000 }, (_, id) => ({ id, text: 'x'.repeat(100) })))
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    let seen = 0
    for await (const thing of things.find()) {
      const until = performance.now() + 0.01
      while (performance.now() < until) seen += 0
      if (typeof thing.id === 'number') seen++
    }
    clearInterval(timer)
    expect(seen).toBe(3000)
    expect(turns).toBeGreaterThan(2)
  })
})
