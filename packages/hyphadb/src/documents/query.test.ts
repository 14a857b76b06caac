import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import type { IndexOptions } from './catalog.js'
import type { Collection } from './collection.js'
import { openDatabase } from './database.js'
import { FakeEngine } from './fake-engine.test-support.js'
import { type Filter, parseFilter } from './filter.js'
import { compileFilter } from './matcher.js'
import { compareValues } from './order.js'
import type { FindOptions } from './query.js'
import { parseSort, Sorter, type SortOption } from './sorting.js'

async function collectionOf(
  documents: readonly object[],
  indexes: Record<string, IndexOptions>,
): Promise<{ things: Collection; engine: FakeEngine }> {
  const engine = new FakeEngine()
  const db = await openDatabase(async () => engine)
  const things = db.collection('things', { indexes })
  await things.putMany(documents as Record<string, unknown>[])
  return { things, engine }
}

const towns = ['LEEDS', 'YORK', 'LEE', 'leeds', 'ÅS']
const value = fc.constantFrom<unknown>(
  null,
  undefined,
  true,
  0,
  -0,
  1,
  2,
  3,
  2.5,
  3n,
  2n ** 60n,
  Number.NaN,
  Infinity,
  ...towns,
  new Date(1),
  new Date(2),
  Buffer.from('a'),
  Uint8Array.of(0, 1),
  { x: 1 },
)
const leaf = fc.oneof({ weight: 12, arbitrary: value }, { weight: 1, arbitrary: fc.array(value, { maxLength: 3 }) })
const plain = fc.dictionary(fc.constantFrom('a', 'b', 'c'), value, { maxKeys: 3, noNullPrototype: true })
const rich = fc.dictionary(
  fc.constantFrom('a', 'b', 'c', 'd'),
  fc.oneof(
    leaf,
    fc.dictionary(fc.constantFrom('x', 'y'), leaf, { maxKeys: 2, noNullPrototype: true }),
    fc.array(plain, { maxLength: 2 }),
  ),
  { maxKeys: 4, noNullPrototype: true },
)
const documents = fc
  .oneof(fc.array(plain, { maxLength: 25 }), fc.array(rich, { maxLength: 25 }))
  .map(list => list.map((document, i) => ({ id: i % 5 === 0 ? `k${i}` : i, ...document })))

const operand = value.filter(each => each !== undefined && !(typeof each === 'object' && each !== null && 'x' in each))
const condition = fc.oneof(
  operand,
  fc.record({ $gt: operand }),
  fc.record({ $gte: operand, $lte: operand }),
  fc.record({ $lt: operand }),
  fc.record({ $in: fc.array(operand, { maxLength: 3 }) }),
  fc.record({ $ne: operand }),
  fc.record({ $exists: fc.boolean() }),
  fc.record({ $all: fc.array(operand, { minLength: 1, maxLength: 2 }) }),
  fc.constantFrom<unknown>(/^LEE/, /^LEED*/, /S$/, { $type: 'string' }, { $size: 1 }),
)
const path = fc.constantFrom('a', 'b', 'c', 'id', 'a', 'b', 'd.x', 'a.x')
const simple = fc.dictionary(path, condition, { maxKeys: 3, noNullPrototype: true })
const filter: fc.Arbitrary<Filter> = fc.oneof(
  { weight: 4, arbitrary: simple },
  {
    weight: 1,
    arbitrary: fc.record({
      $or: fc.array(
        simple.filter(each => Object.keys(each).length > 0),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(simple, fc.array(simple, { minLength: 1, maxLength: 2 })).map(([a, b]) => ({ ...a, $or: b })),
  },
)
const index: fc.Arbitrary<IndexOptions> = fc.record({
  on: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd.x', 'a.x'), { minLength: 1, maxLength: 3 }),
  sparse: fc.boolean(),
})
const indexes = fc
  .array(index, { maxLength: 3 })
  .map(list => Object.fromEntries(list.map((each, i) => [`index${i}`, each])))
const sort: fc.Arbitrary<SortOption | undefined> = fc.option(
  fc
    .uniqueArray(fc.constantFrom('a', 'b', 'c', 'id', 'd.x'), { minLength: 1, maxLength: 2 })
    .chain(fields =>
      fc
        .tuple(...fields.map(() => fc.constantFrom<1 | -1>(1, -1)))
        .map(directions => Object.fromEntries(fields.map((each, i) => [each, directions[i]]))),
    ),
  { nil: undefined },
)

/** The filter and the sort without any index, planner or cursor. */
function expected(all: readonly object[], wanted: Filter, order: SortOption | undefined): object[] {
  const matching = all.filter(compileFilter(parseFilter(wanted), 'id'))
  if (order === undefined) return matching
  const sorter = new Sorter(parseSort(order), 'id', Number.POSITIVE_INFINITY)
  for (const document of matching) sorter.add(document)
  return sorter.sorted()
}

function byId(list: readonly object[]): object[] {
  return [...list].sort((a, b) => String((a as { id: unknown }).id).localeCompare(String((b as { id: unknown }).id)))
}

describe('queries', () => {
  it('give the same documents with any indexes as without', async () => {
    await fc.assert(
      fc.asyncProperty(
        documents,
        indexes,
        fc.array(filter, { minLength: 3, maxLength: 3 }),
        sort,
        async (all, definitions, wanted, order) => {
          const { things, engine } = await collectionOf(all, definitions)
          for (const each of wanted) {
            const options: FindOptions = order === undefined ? {} : { sort: order }
            const found = things.find(each, options).toArray()
            const right = expected(all, each, order)
            const explained = JSON.stringify(things.explain(each, options))
            if (!isDeepStrictEqual(byId(found), byId(right))) throw new Error(`wrong documents by ${explained}`)
            if (order !== undefined && !sameOrder(found, right, order)) throw new Error(`wrong order by ${explained}`)
            if (things.count(each) !== right.length) throw new Error(`wrong count by ${explained}`)
            const part = things.find(each, { ...options, skip: 1, limit: 2 }).toArray()
            if (!sameOrder(part, found.slice(1, 3), order ?? {})) throw new Error(`wrong part by ${explained}`)
          }
          expect(engine.openSnapshots).toBe(0)
        },
      ),
      { numRuns: 600 },
    )
  }, 60_000)

  it('give the same fields from an index alone as from the documents', async () => {
    await fc.assert(
      fc.asyncProperty(
        documents,
        filter,
        fc.uniqueArray(fc.constantFrom('a', 'b', 'id'), { minLength: 1, maxLength: 3 }),
        async (all, wanted, fields) => {
          const { things } = await collectionOf(all, { ab: { on: ['a', 'b'] }, b: { on: ['b'] } })
          const bare = (await collectionOf(all, {})).things
          expect(sameList(things.find(wanted, { fields }).toArray(), bare.find(wanted, { fields }).toArray())).toBe(
            true,
          )
        },
      ),
      { numRuns: 300 },
    )
  }, 60_000)

  it('find after any writes what a scan finds: no entry is missing and none is left behind', async () => {
    const step = fc.tuple(fc.nat(7), fc.oneof(rich, fc.constant('delete' as const)))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), indexes, async (steps, definitions) => {
        const { things, engine } = await collectionOf([], definitions)
        for (const [id, change] of steps) {
          if (change === 'delete') await things.delete(id)
          else await things.put({ id, ...change })
        }
        const all = things.find().toArray()
        const rebuilt = await collectionOf(all, definitions)
        for (const name of Object.keys(definitions)) {
          expect(entries(engine, name)).toEqual(entries(rebuilt.engine, name))
        }
      }),
      { numRuns: 200 },
    )
  }, 60_000)
})

/** Rows of an index but those about the index. */
function entries(engine: FakeEngine, name: string): string[] {
  const table = engine.lookupTable(`things/${name}`)
  if (table === undefined) throw new Error('no such index')
  return engine
    .rowsOf(table)
    .list.filter(row => row.key[0] !== 1)
    .map(row => `${row.key.toString('hex')} ${row.value.toString('hex')}`)
}

function sameList(a: readonly object[], b: readonly object[]): boolean {
  const texts = (list: readonly object[]): string[] =>
    list.map(item =>
      JSON.stringify(item, (_, each: unknown) =>
        typeof each === 'bigint' ? `${each}n` : Object.is(each, -0) ? '-0' : each,
      ),
    )
  return isDeepStrictEqual(texts(a).sort(), texts(b).sort())
}

/** Whether two lists agree in what decides the order; documents that compare equal may stand in any order. */
function sameOrder(a: readonly object[], b: readonly object[], order: SortOption): boolean {
  const sorter = new Sorter(parseSort(order), 'id', 1)
  return (
    a.length === b.length && a.every((document, i) => compareValues(sorter.keysOf(document), sorter.keysOf(b[i])) === 0)
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

describe('the planner', () => {
  const sales = Array.from({ length: 300 }, (_, i) => ({
    id: i,
    town: towns[i % 4],
    price: (i * 37) % 100,
    year: 2000 + (i % 20),
    tags: i % 50 === 0 ? ['rare', 'old'] : 'common',
  }))

  async function open(): Promise<Collection> {
    const { things } = await collectionOf(sales, {
      byTown: { on: ['town', 'price'] },
      byYear: { on: ['year'] },
      byTags: { on: ['tags'] },
      byNote: { on: ['note'], sparse: true },
    })
    return things
  }

  it('uses a compound index for equality, range and order', async () => {
    const things = await open()
    const plan = things.explain({ town: 'LEEDS', price: { $gte: 50 } }, { sort: { price: -1 }, limit: 3 })
    expect(plan).toEqual({
      plan: 'index',
      index: 'byTown',
      bounds: { town: '= "LEEDS"', price: '>= 50' },
      ranges: 1,
      sort: 'index',
      covered: false,
      residual: [],
    })
    expect(things.find({ town: 'LEEDS' }, { sort: { price: -1 }, limit: 2, fields: ['price'] }).toArray()).toEqual([
      { price: 96 },
      { price: 96 },
    ])
  })

  it('makes several ranges of $in, and a union of $or', async () => {
    const things = await open()
    expect(things.explain({ town: { $in: ['LEEDS', 'YORK', 'LEEDS'] } })).toMatchObject({
      plan: 'index',
      index: 'byTown',
      ranges: 2,
      residual: [],
    })
    const union = things.explain({ $or: [{ town: 'LEE' }, { year: 2001 }, { id: 7 }] })
    expect(union.plan).toBe('union')
    expect(union.branches?.map(branch => branch.index ?? branch.plan)).toEqual(['byTown', 'byYear', 'primary'])
    expect(things.explain({ $or: [{ town: 'LEE' }, { note2: 1 }] }).plan).toBe('scan')
  })

  it('goes by the primary key when the filter names it', async () => {
    const things = await open()
    expect(things.explain({ id: 5, town: 'YORK' })).toMatchObject({
      plan: 'primary',
      bounds: { id: '= 5' },
      residual: ['town eq'],
    })
    expect(things.explain({ id: { $gte: 10, $lt: 20 } }, { sort: { id: -1 } })).toMatchObject({
      plan: 'primary',
      sort: 'index',
      residual: [],
    })
    expect(
      things
        .find({ id: { $in: [3, 1, 999] } }, { sort: { id: -1 } })
        .toArray()
        .map(sale => sale.id),
    ).toEqual([3, 1])
  })

  it('takes the candidate that reads fewest rows', async () => {
    const things = await open()
    expect(things.explain({ town: 'LEEDS', year: 2004 })).toMatchObject({
      index: 'byYear',
      residual: ['town eq'],
      estimate: 15,
    })
    expect(things.explain({ town: 'nowhere', year: 2004 })).toMatchObject({ index: 'byTown', estimate: 0 })
  })

  it('covers a query whose fields are all in the index, and counts in the index', async () => {
    const things = await open()
    expect(things.explain({ town: 'LEEDS' }, { fields: ['price', 'id'] })).toMatchObject({
      index: 'byTown',
      covered: true,
    })
    expect(things.explain({ town: 'LEEDS', year: 2000 }, { fields: ['price'] })).toMatchObject({ covered: false })
    expect(things.count({ town: 'LEEDS', price: { $lt: 50 } })).toBe(
      sales.filter(sale => sale.town === 'LEEDS' && sale.price < 50).length,
    )
  })

  it('gives a document that several branches of a union find once', async () => {
    const things = await open()
    const either = { $or: [{ town: 'LEEDS' }, { year: { $lt: 2010 } }, { id: { $lte: 20 } }] }
    const right = sales.filter(sale => sale.town === 'LEEDS' || sale.year < 2010 || sale.id <= 20)
    expect(things.explain(either).plan).toBe('union')
    expect(
      things
        .find(either, { sort: { id: 1 } })
        .toArray()
        .map(sale => sale.id),
    ).toEqual(right.map(sale => sale.id))
    expect(things.count(either)).toBe(right.length)
  })

  it('takes order from an index only when all directions agree with it, or all are the other way', async () => {
    const things = await open()
    const sortOf = (order: SortOption): string => things.explain({}, { sort: order, limit: 5 }).sort
    expect(sortOf({ town: 1, price: 1 })).toBe('index')
    expect(sortOf({ town: -1, price: -1, id: -1 })).toBe('index')
    expect(sortOf({ town: 1, price: -1 })).toBe('memory')
    expect(sortOf({ price: 1, town: 1 })).toBe('memory')
    const top = things.find({}, { sort: { town: 1, price: -1, id: 1 }, limit: 3 }).toArray()
    expect(top.map(sale => [sale.town, sale.price])).toEqual([
      ['LEE', 98],
      ['LEE', 98],
      ['LEE', 98],
    ])
  })

  it('lets each bound on an array be met by another item', async () => {
    const { things } = await collectionOf(
      [
        { id: 1, n: [1, 9] },
        { id: 2, n: [1, 2] },
        { id: 3, n: 5 },
      ],
      { byN: { on: ['n'] } },
    )
    expect(things.explain({ n: { $gte: 4, $lte: 6 } }).index).toBe('byN')
    expect(
      things
        .find({ n: { $gte: 4, $lte: 6 } }, { sort: { id: 1 } })
        .toArray()
        .map(thing => thing.id),
    ).toEqual([1, 3])
    expect(things.find({ n: { $elemMatch: { $gte: 4, $lte: 6 } } }).toArray()).toEqual([])
  })

  it('gives a document with several entries once, and does not trust such an index for order', async () => {
    const things = await open()
    expect(things.find({ tags: { $in: ['rare', 'old'] } }).toArray().length).toBe(6)
    expect(things.count({ tags: { $in: ['rare', 'old'] } })).toBe(6)
    expect(things.explain({ tags: { $gte: 'a' } }, { sort: { tags: 1 } })).toMatchObject({
      index: 'byTags',
      sort: 'memory',
      residual: ['tags gte'],
    })
  })

  it('leaves a sparse index alone unless the filter asks for what it holds', async () => {
    const things = await open()
    await things.put({ id: 1000, note: 'x' })
    expect(things.explain({ note: 'x' }).index).toBe('byNote')
    expect(things.explain({ note: null }).plan).toBe('scan')
    expect(things.explain({}, { sort: { note: 1 }, limit: 5 }).plan).toBe('scan')
    expect(things.count({ note: null })).toBe(300)
  })

  it('sorts in memory when no index has the order, keeping no more than the limit asks for', async () => {
    const things = await open()
    expect(things.explain({}, { sort: { price: 1, year: -1 } })).toMatchObject({ plan: 'scan', sort: 'memory' })
    const top = things.find({}, { sort: { price: -1, year: 1, id: 1 }, skip: 2, limit: 4 }).toArray()
    const all = [...sales].sort((a, b) => b.price - a.price || a.year - b.year || a.id - b.id)
    expect(top.map(sale => sale.id)).toEqual(all.slice(2, 6).map(sale => sale.id))
  })

  it('projects fields, nested ones too, by list or by object', async () => {
    const { things } = await collectionOf([{ id: 1, a: { b: 1, c: 2 }, list: [{ x: 1, y: 2 }, 5], d: 3 }], {})
    const only = (fields: FindOptions['fields']): unknown =>
      things.find({}, fields === undefined ? {} : { fields }).first()
    expect(only(['d', 'missing'])).toEqual({ d: 3 })
    expect(only({ 'a.b': 1, 'list.y': 1 })).toEqual({ a: { b: 1 }, list: [{ y: 2 }] })
    expect(only({ a: 0, list: 0 })).toEqual({ id: 1, d: 3 })
    expect(only({ 'a.c': 0, 'list.x': 0 })).toEqual({ id: 1, a: { b: 1 }, list: [{ y: 2 }, 5], d: 3 })
    expect(refusal(() => only({ a: 1, d: 0 }))).toMatch(/^HYPHA_INVALID .*mixed/)
    expect(refusal(() => only([]))).toMatch(/^HYPHA_INVALID/)
  })

  it('refuses options that it does not know, by name', async () => {
    const { things } = await collectionOf([], {})
    expect(refusal(() => things.find({}, { orderBy: 'x' } as object))).toMatch(/^HYPHA_INVALID .*'orderBy'/)
    expect(refusal(() => things.find({}, { sort: { a: 2 } } as object))).toMatch(/^HYPHA_INVALID .*direction/)
    expect(refusal(() => things.find({}, { limit: -1 }))).toMatch(/^HYPHA_INVALID .*limit/)
    expect(things.find({}, { limit: 0 }).toArray()).toEqual([])
  })
})
