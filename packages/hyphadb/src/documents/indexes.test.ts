import { describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import type { Table } from '../engine/api.js'
import { type Database, openDatabase } from './database.js'
import { FakeEngine } from './fake-engine.test-support.js'

async function rejection(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof HyphaError ? `${error.code} ${error.message}` : String(error)),
  )
}

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof HyphaError) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

async function open(engine = new FakeEngine()): Promise<{ db: Database; engine: FakeEngine }> {
  return { db: await openDatabase(async () => engine), engine }
}

describe('a unique index', () => {
  it('refuses a second document with the value, naming index, value and holder, and stores nothing of it', async () => {
    const { db } = await open()
    const deeds = db.collection('deeds', {
      indexes: { byDeed: { on: ['deed'], unique: true }, byTown: { on: ['town'] } },
    })
    await deeds.insert({ id: 1, deed: 'A', town: 'LEEDS' })
    expect(await rejection(deeds.put({ id: 2, deed: 'A', town: 'YORK' }))).toMatch(
      /^HYPHA_DUPLICATE .*'byDeed'.*deed = "A".*key 1/,
    )
    expect(
      await rejection(
        deeds.insertMany([
          { id: 3, deed: 'B' },
          { id: 4, deed: 'B' },
        ]),
      ),
    ).toMatch(/^HYPHA_DUPLICATE/)
    expect(deeds.find().toArray()).toEqual([{ id: 1, deed: 'A', town: 'LEEDS' }])
    expect(deeds.count({ town: 'YORK' })).toBe(0)
  })

  it('lets a document keep its value, and frees it with the document', async () => {
    const { db } = await open()
    const deeds = db.collection('deeds', { indexes: { byDeed: { on: ['deed'], unique: true } } })
    await deeds.put({ id: 1, deed: 'A', n: 1 })
    await deeds.put({ id: 1, deed: 'A', n: 2 })
    await deeds.put({ id: 1, deed: 'B' })
    await deeds.put({ id: 2, deed: 'A' })
    await deeds.delete(2)
    await deeds.put({ id: 3, deed: 'A' })
    expect(deeds.find({ deed: { $gte: '' } }).toArray()).toEqual([
      { id: 3, deed: 'A' },
      { id: 1, deed: 'B' },
    ])
    await db.transaction(tx => {
      tx.collection('deeds').delete(3)
      tx.collection('deeds').update(1, { deed: 'A' })
    })
    expect(deeds.find({ deed: 'A' }).toArray()).toEqual([{ id: 1, deed: 'A' }])
  })

  it('holds against two transactions that commit the same value at once, at either isolation', async () => {
    for (const isolation of ['serializable', 'snapshot'] as const) {
      const engine = new FakeEngine()
      const one = (await open(engine)).db
      const two = (await open(engine)).db
      one.collection('deeds', { indexes: { byDeed: { on: ['deed'], unique: true } } })
      engine.beforeNextCommit = () => void two.collection('deeds').insert({ id: 2, deed: 'A' })
      expect(
        await rejection(one.transaction(tx => tx.collection('deeds').insert({ id: 1, deed: 'A' }), { isolation })),
      ).toMatch(/^HYPHA_DUPLICATE/)
      expect(one.collection('deeds').find().toArray()).toEqual([{ id: 2, deed: 'A' }])
    }
  })

  it('counts null and absent as one value unless it is sparse', async () => {
    const { db } = await open()
    const strict = db.collection('strict', { indexes: { x: { on: ['x'], unique: true } } })
    await strict.put({ id: 1 })
    expect(await rejection(strict.put({ id: 2, x: null }))).toMatch(/^HYPHA_DUPLICATE/)
    const sparse = db.collection('sparse', { indexes: { x: { on: ['x'], unique: true, sparse: true } } })
    await sparse.putMany([{ id: 1 }, { id: 2 }, { id: 3, x: null }])
    expect(await rejection(sparse.put({ id: 4, x: null }))).toMatch(/^HYPHA_DUPLICATE/)
  })

  it('holds for compound values and for each item of an array', async () => {
    const { db } = await open()
    const places = db.collection('places', {
      indexes: { ab: { on: ['a', 'b'], unique: true }, tags: { on: ['tags'], unique: true, sparse: true } },
    })
    await places.put({ id: 1, a: 1, b: 1, tags: ['x', 'y', 'x'] })
    await places.put({ id: 2, a: 1, b: 2, tags: ['z'] })
    expect(await rejection(places.put({ id: 3, a: 1, b: 2 }))).toMatch(/a = 1, b = 2/)
    expect(await rejection(places.put({ id: 3, a: 3, tags: ['w', 'y'] }))).toMatch(/tags = "y"/)
    expect(places.find({ tags: 'y' }).toArray().length).toBe(1)
  })
})

describe('an index', () => {
  it('is kept with the collection, and contradicting it is refused', async () => {
    const { db, engine } = await open()
    db.collection('sales', { indexes: { byTown: { on: ['town'] } } })
    const other = (await open(engine)).db
    await other.collection('sales').put({ id: 1, town: 'LEEDS' })
    expect(other.collection('sales').explain({ town: 'LEEDS' }).index).toBe('byTown')
    expect(refusal(() => other.collection('sales', { indexes: { byTown: { on: ['town', 'price'] } } }))).toMatch(
      /^HYPHA_INVALID .*byTown.*drop it/,
    )
    expect(refusal(() => other.collection('sales', { indexes: { byTown: { on: ['town'], unique: true } } }))).toMatch(
      /^HYPHA_INVALID/,
    )
    expect(refusal(() => other.collection('sales', { indexes: { x: { on: [] } } }))).toMatch(/^HYPHA_INVALID/)
    expect(
      refusal(() => other.collection('sales', { indexes: { x: { on: ['a'], multi: true } as { on: string[] } } })),
    ).toMatch(/'multi'/)
    other.collection('sales', { indexes: { byTown: { on: ['town'] }, byPrice: { on: ['price'] } } })
    expect(
      db
        .collection('sales')
        .indexes()
        .map(index => index.name),
    ).toEqual(['byTown', 'byPrice'])
  })

  it('added later gets the documents that were there, in batches, and those written meanwhile', async () => {
    const { db, engine } = await open()
    const things = db.collection('things')
    const all = Array.from({ length: 1500 }, (_, id) => ({ id, n: id % 7 }))
    await things.putMany(all)
    const other = (await open(engine)).db.collection('things')
    const building = things.createIndex('byN', { on: ['n'] })
    expect(things.explain({ n: 3 }).plan).toBe('scan')
    // Behind the builder, before it, and in another process.
    await other.put({ id: 0, n: 3 })
    await other.put({ id: 1499, n: 3 })
    await things.put({ id: 5000, n: 3 })
    await other.delete(10)
    await building
    expect(things.explain({ n: 3 }).index).toBe('byN')
    expect(other.explain({ n: 3 }).index).toBe('byN')
    const right = other
      .find()
      .toArray()
      .filter(thing => thing.n === 3).length
    expect(things.find({ n: 3 }).toArray().length).toBe(right)
    expect(things.count({ n: 3 })).toBe(right)
    expect(
      things
        .find({ n: 3 })
        .toArray()
        .map(thing => thing.id),
    ).not.toContain(10)
  })

  it('misses no document of a writer that began before it was known', async () => {
    const engine = new FakeEngine()
    const one = (await open(engine)).db.collection('things')
    const two = (await open(engine)).db.collection('things')
    await one.putMany([
      { id: 1, n: 1 },
      { id: 2, n: 2 },
    ])
    await two.put({ id: 3, n: 3 })
    engine.beforeNextCommit = () => void one.createIndex('byN', { on: ['n'] })
    await two.put({ id: 4, n: 4 })
    expect(
      one
        .find({ n: { $gte: 0 } }, { sort: { n: 1 } })
        .toArray()
        .map(thing => thing.n),
    ).toEqual([1, 2, 3, 4])
    expect(one.explain({ n: 4 }).index).toBe('byN')
  })

  it('that cannot be built says why, and is gone', async () => {
    for (const size of [10, 1500]) {
      const { db } = await open()
      const things = db.collection('things')
      await things.putMany(Array.from({ length: size }, (_, id) => ({ id, n: id % (size - 1) })))
      expect(await rejection(things.createIndex('byN', { on: ['n'], unique: true }))).toMatch(
        /^HYPHA_DUPLICATE .*n = 0/,
      )
      expect(things.indexes()).toEqual([])
      await things.put({ id: 'more', n: 0 })
    }
  })

  it('left unfinished by a process that died is finished by the next that opens the collection', async () => {
    const { db, engine } = await open()
    const things = db.collection('things')
    await things.putMany(Array.from({ length: 2000 }, (_, id) => ({ id, n: id })))
    engine.openTable('things/byN', { kind: 'index', on: ['n'], unique: false, sparse: false })
    const other = (await open(engine)).db.collection('things')
    expect(other.indexes()).toEqual([{ name: 'byN', on: ['n'], unique: false, sparse: false, ready: false }])
    await other.ready()
    expect(other.find({ n: 1999 }).toArray()).toEqual([{ id: 1999, n: 1999 }])
    expect(other.explain({ n: 1999 }).index).toBe('byN')
  })

  it('can be dropped, by name, while others write', async () => {
    const { db, engine } = await open()
    const things = db.collection('things', { indexes: { byN: { on: ['n'] } } })
    await things.put({ id: 1, n: 1 })
    const other = (await open(engine)).db.collection('things')
    engine.beforeNextCommit = () => void things.dropIndex('byN')
    await other.put({ id: 2, n: 1 })
    expect(things.dropIndex('byN')).toBe(false)
    expect(other.find({ n: 1 }).toArray().length).toBe(2)
    expect(other.explain({ n: 1 }).plan).toBe('scan')
  })

  it('refuses values too long for a key, naming the field, and stores nothing', async () => {
    const { db } = await open()
    const things = db.collection('things', { indexes: { byText: { on: ['text'] } } })
    expect(await rejection(things.put({ id: 1, text: 'x'.repeat(5000) }))).toMatch(/^HYPHA_INVALID .*'text'/)
    expect(things.count()).toBe(0)
  })

  it('reaches into objects and arrays of objects', async () => {
    const { db } = await open()
    const orders = db.collection('orders', { indexes: { bySku: { on: ['items.sku'] }, byTown: { on: ['at.town'] } } })
    await orders.put({ id: 1, at: { town: 'LEEDS' }, items: [{ sku: 'a' }, { sku: 'b' }, { sku: 'a' }] })
    await orders.put({ id: 2, at: { town: 'YORK' }, items: { sku: 'b' } })
    expect(
      orders
        .find({ 'items.sku': 'b' })
        .toArray()
        .map(order => order.id),
    ).toEqual([1, 2])
    expect(orders.find({ 'items.sku': 'a' }).toArray().length).toBe(1)
    expect(orders.explain({ 'at.town': 'YORK' })).toMatchObject({ index: 'byTown', residual: [] })
    expect(orders.count({ 'at.town': 'YORK' })).toBe(1)
  })

  it('being built keeps the entry of one document when another with the same value goes', async () => {
    const { db } = await open()
    const things = db.collection('things')
    await things.putMany(Array.from({ length: 1500 }, (_, id) => ({ id, n: id === 1400 ? 0 : id })))
    const building = things.createIndex('byN', { on: ['n'], unique: true })
    // The builder has passed 0 and not yet reached 1400.
    await things.delete(1400)
    await building
    expect(things.explain({ n: 0 }).index).toBe('byN')
    expect(things.find({ n: 0 }).toArray()).toEqual([{ id: 0, n: 0 }])
  })
})

describe('verify', () => {
  async function built(): Promise<{ db: Database; engine: FakeEngine }> {
    const { db, engine } = await open()
    const things = db.collection('things', {
      indexes: { byN: { on: ['n'] }, byTags: { on: ['tags'] }, byCode: { on: ['code'], unique: true, sparse: true } },
    })
    await things.putMany(Array.from({ length: 20 }, (_, id) => ({ id, n: id % 3, tags: ['a', 'b'], code: id })))
    return { db, engine }
  }

  async function faultsAfter(
    damage: (engine: FakeEngine, rows: (name: string) => { key: Buffer; value: Buffer }[]) => void,
  ): Promise<string[]> {
    const { db, engine } = await built()
    expect((await db.verify()).faults).toEqual([])
    damage(engine, name => engine.rowsOf(tableOf(engine, name)).list)
    return (await db.verify()).faults.map(fault => fault.what)
  }

  it('finds an entry that is missing, one too many, one that is wrong, and a document that cannot be read', async () => {
    const index = "index 'byN' of collection 'things'"
    expect(await faultsAfter((_, rows) => rows('things/byN').pop())).toEqual([
      `${index} lacks the entry of document 17, or has it for another`,
      `${index} has 19 entries where the documents make 20`,
    ])
    expect((await faultsAfter((_, rows) => rows('things').pop())).slice(0, 2)).toEqual([
      `${index} has 20 entries where the documents make 19`,
      `${index} has an entry for document 19 that does not follow from it`,
    ])
    const unmarked = await faultsAfter((_, rows) => rows('things/byTags').splice(1, 1))
    expect(unmarked.length).toBe(40)
    expect(unmarked[0]).toMatch(/'byTags'.*several entries/)
    const surplus = await faultsAfter((engine, rows) => {
      const [entry] = rows('things/byN').slice(-1)
      const table = tableOf(engine, 'things/byN')
      const wrong = Buffer.concat([Buffer.from([0x30, 0x41, 0]), entry.key.subarray(9)])
      engine.transactSync(tx => tx.put(table, wrong, entry.value))
    })
    expect(surplus).toEqual([
      `${index} has 21 entries where the documents make 20`,
      `${index} has an entry for document 17 that does not follow from it`,
    ])
    expect((await faultsAfter((_, rows) => rows('things')[3].value.fill(0xff)))[0]).toMatch(/^document 3 of .*damaged/)
  })
})

function tableOf(engine: FakeEngine, name: string): Table {
  const table = engine.lookupTable(name)
  if (table === undefined) throw new Error(`no table ${name}`)
  return table
}
