import fc from 'fast-check'
import { Query } from 'mingo'
import { describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import { type Filter, parseFilter } from './filter.js'
import { compileFilter } from './matcher.js'

function matches(filter: unknown, document: object): boolean {
  return compileFilter(parseFilter(filter as Filter), 'id')(document)
}

function refusal(filter: unknown): string {
  try {
    parseFilter(filter as Filter)
  } catch (error) {
    if (error instanceof HyphaError) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

const scalar = fc.constantFrom<unknown>(
  null,
  true,
  false,
  0,
  1,
  2,
  3.5,
  -1,
  'a',
  'ab',
  'b',
  '',
  new Date(5),
  new Date(7),
)
const field = fc.constantFrom('a', 'b', 'c', 'a.b', 'a.c', 'b.a')
const leaf = fc.oneof({ weight: 4, arbitrary: scalar }, { weight: 1, arbitrary: fc.array(scalar, { maxLength: 3 }) })
const inner = fc.dictionary(fc.constantFrom('a', 'b', 'c'), leaf, { maxKeys: 3, noNullPrototype: true })
const document = fc.dictionary(
  fc.constantFrom('a', 'b', 'c'),
  fc.oneof({ weight: 3, arbitrary: leaf }, { weight: 2, arbitrary: inner }),
  { maxKeys: 3, noNullPrototype: true },
)
/** In lists mingo finds null less often than alone, MongoDB (and we) just as often. */
const notNull = scalar.filter(each => each !== null)
const ordered = fc.constantFrom<unknown>(0, 1, 2, 3.5, -1, 'a', 'ab', 'b', new Date(5), new Date(7))
const operators: fc.Arbitrary<unknown> = fc.oneof(
  scalar,
  fc.constantFrom<unknown>(/a/, /^b/, { $regex: 'A', $options: 'i' }),
  fc.record({ $eq: scalar }),
  fc.record({ $ne: scalar }),
  fc.record({ $gt: ordered }),
  fc.record({ $gte: ordered }),
  fc.record({ $lt: ordered }),
  fc.record({ $lte: ordered }),
  fc.record({ $gte: ordered, $lt: ordered }),
  fc.record({ $in: fc.array(notNull, { maxLength: 3 }) }),
  fc.record({ $nin: fc.array(notNull, { maxLength: 3 }) }),
  fc.record({ $not: fc.record({ $gt: ordered }) }),
)
/** On paths through arrays mingo asks these of the list of values it has gathered, MongoDB (and we) of each value. */
const arrayOperators: fc.Arbitrary<unknown> = fc.oneof(
  fc.record({ $size: fc.nat(3) }),
  fc.record({ $elemMatch: fc.record({ $gte: ordered, $lt: ordered }) }),
)
const condition = fc.oneof(
  { weight: 5, arbitrary: fc.dictionary(field, operators, { minKeys: 1, maxKeys: 2, noNullPrototype: true }) },
  {
    weight: 1,
    arbitrary: fc.dictionary(fc.constantFrom('a', 'b', 'c'), arrayOperators, {
      minKeys: 1,
      maxKeys: 2,
      noNullPrototype: true,
    }),
  },
)
const filter: fc.Arbitrary<Filter> = fc.oneof(
  { weight: 4, arbitrary: condition },
  fc.record({ $and: fc.array(condition, { minLength: 1, maxLength: 2 }) }),
  fc.record({ $or: fc.array(condition, { minLength: 1, maxLength: 2 }) }),
  fc.record({ $nor: fc.array(condition, { minLength: 1, maxLength: 2 }) }),
)

describe('a filter', () => {
  // But for arrays of objects: there mingo joins the values of all items into one list before it asks.
  it('matches what mingo matches', () => {
    fc.assert(
      fc.property(filter, document, (wanted, candidate) => {
        const expected = new Query(wanted as Record<string, never>).test(candidate)
        if (matches(wanted, candidate) !== expected) {
          throw new Error(`mingo says ${expected}: ${JSON.stringify(wanted)} on ${JSON.stringify(candidate)}`)
        }
      }),
      { numRuns: 20000 },
    )
  })

  it('keeps comparisons within one class of values', () => {
    expect(matches({ a: { $lt: 5 } }, { a: '1' })).toBe(false)
    expect(matches({ a: { $lt: 5 } }, { a: null })).toBe(false)
    expect(matches({ a: { $lt: 5 } }, { a: Number.NaN })).toBe(false)
    expect(matches({ a: { $gt: '1' } }, { a: new Date() })).toBe(false)
    expect(matches({ a: { $gte: Uint8Array.of(1) } }, { a: Buffer.from([1, 0]) })).toBe(true)
  })

  it('orders bigints among numbers, and does not take one for the other', () => {
    expect(matches({ a: { $gt: 5 } }, { a: 6n })).toBe(true)
    expect(matches({ a: { $gt: 2 ** 53 } }, { a: 2n ** 53n + 1n })).toBe(true)
    expect(matches({ a: 5 }, { a: 5n })).toBe(false)
    expect(matches({ a: 5n }, { a: 5n })).toBe(true)
    expect(matches({ a: { $lte: 5 } }, { a: 5n })).toBe(false)
  })

  it('finds NaN, bytes, nested documents and exact arrays', () => {
    expect(matches({ a: Number.NaN }, { a: Number.NaN })).toBe(true)
    expect(matches({ a: Uint8Array.of(1, 2) }, { a: Buffer.from([1, 2]) })).toBe(true)
    expect(matches({ a: { b: 1, c: { d: 2 } } }, { a: { c: { d: 2 }, b: 1 } })).toBe(true)
    expect(matches({ a: { b: 1 } }, { a: { b: 1, c: 1 } })).toBe(false)
    expect(matches({ a: [1, [2]] }, { a: [1, [2]] })).toBe(true)
    expect(matches({ a: { $in: [[1], { b: 1 }] } }, { a: { b: 1 } })).toBe(true)
  })

  it('asks each object of an array on the way, as MongoDB does', () => {
    const order = { items: [{ sku: 'a', sizes: [1, 5] }, { sku: 'b' }, 7, new Date(0)] }
    expect(matches({ 'items.sku': 'b' }, order)).toBe(true)
    expect(matches({ 'items.0.sku': 'b' }, order)).toBe(false)
    expect(matches({ 'items.1.sku': 'b' }, order)).toBe(true)
    expect(matches({ 'items.sku': { $ne: 'b' } }, order)).toBe(false)
    expect(matches({ 'items.sku': { $gt: 'a', $lt: 'b' } }, order)).toBe(true) // each by another item
    expect(matches({ items: { $elemMatch: { sku: { $gt: 'a', $lt: 'b' } } } }, order)).toBe(false)
    expect(matches({ 'items.sizes': { $size: 2 } }, order)).toBe(true)
    expect(matches({ 'items.sizes': 5 }, order)).toBe(true)
    expect(matches({ 'items.sizes': null }, order)).toBe(true)
    expect(matches({ 'items.sku': null }, order)).toBe(false)
    expect(matches({ 'items.sizes': { $exists: false } }, order)).toBe(false)
    expect(matches({ 'items.none': { $exists: false } }, order)).toBe(true)
    expect(matches({ 'items.sku': { $all: ['a', 'b'] } }, order)).toBe(true)
    expect(matches({ items: { $elemMatch: { sku: 'a', sizes: { $gt: 4 } } } }, order)).toBe(true)
    expect(matches({ items: { $elemMatch: { sku: 'b', sizes: { $gt: 4 } } } }, order)).toBe(false)
    expect(matches({ items: 7 }, order)).toBe(true)
    expect(matches({ 'items.length': 4 }, order)).toBe(false)
  })

  it('takes remainders of numbers and bigints, of nothing else', () => {
    expect(matches({ a: { $mod: [2, 1] } }, { a: 3 })).toBe(true)
    expect(matches({ a: { $mod: [2, 1] } }, { a: [2, 5n] })).toBe(true)
    expect(matches({ a: { $mod: [2, 1] } }, { a: true })).toBe(false)
    expect(matches({ a: { $mod: [2, 0] } }, { a: null })).toBe(false)
  })

  it('knows types by name and number', () => {
    expect(matches({ a: { $type: 'string' } }, { a: ['x', 1] })).toBe(true)
    expect(matches({ a: { $type: ['date', 10] } }, { a: null })).toBe(true)
    expect(matches({ a: { $type: 'array' } }, { a: [] })).toBe(true)
    expect(matches({ a: { $type: 'bigint' } }, { a: 1 })).toBe(false)
    expect(matches({ a: { $type: 'undefined' } }, { a: undefined })).toBe(true)
  })

  it('looks at own fields only', () => {
    expect(matches({ constructor: { $exists: true } }, {})).toBe(false)
    expect(matches({ 'a.toString': null }, { a: {} })).toBe(true)
    expect(matches({ toString: 'x' }, { toString: 'x' })).toBe(true)
  })

  it('gives the same answer however often a global expression is used', () => {
    const compiled = compileFilter(parseFilter({ a: /x/g }), 'id')
    for (let i = 0; i < 4; i++) expect(compiled({ a: 'xx' })).toBe(true)
  })

  it('is refused by name when it is not understood', () => {
    expect(refusal({ $where: 'this.a' })).toMatch(/^HYPHA_INVALID .*'\$where'/)
    expect(refusal({ a: { $near: 1 } })).toMatch(/^HYPHA_INVALID .*'\$near'/)
    expect(refusal({ a: { $gt: 1, b: 1 } })).toMatch(/^HYPHA_INVALID .*mixes/)
    expect(refusal({ a: undefined })).toMatch(/^HYPHA_INVALID .*'a' is undefined/)
    expect(refusal({ a: { $in: 5 } })).toMatch(/^HYPHA_INVALID .*list/)
    expect(refusal({ $or: [] })).toMatch(/^HYPHA_INVALID .*\$or/)
    expect(refusal({ a: { $regex: '(' } })).toMatch(/^HYPHA_INVALID .*\$regex/)
    expect(refusal({ a: { $gt: {} } })).toMatch(/^HYPHA_INVALID .*no order/)
    expect(refusal({ a: { $type: 'colour' } })).toMatch(/^HYPHA_INVALID .*colour/)
    expect(refusal({ 'a..b': 1 })).toMatch(/^HYPHA_INVALID .*path/)
    expect(refusal([])).toMatch(/^HYPHA_INVALID/)
    expect(refusal({ a: { $elemMatch: { $foo: 1 } } })).toMatch(/\$foo/)
    expect(refusal({ $comment: 'x', a: 1 })).toBe('accepted')
  })
})
