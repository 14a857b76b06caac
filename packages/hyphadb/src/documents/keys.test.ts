import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import { beyond } from './bounds.js'
import { KeyScratch } from './key-scratch.js'
import { decodeKey, encodeIndexValue, encodeKey, type Key, keyEnd, skipKey } from './keys.js'
import { compareValues } from './order.js'

const scratch = Buffer.alloc(64 * 1024)

function encoded(value: unknown): Buffer {
  const end = encodeKey(value, scratch, 0)
  return Buffer.from(scratch.subarray(0, end))
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

const interesting = [
  0,
  1,
  -1,
  0.5,
  2 ** 31,
  2 ** 53,
  -(2 ** 53),
  2 ** 53 + 2,
  Number.MAX_VALUE,
  -Number.MAX_VALUE,
  Number.MIN_VALUE,
  Infinity,
  -Infinity,
]
const number = fc
  .oneof(fc.constantFrom(...interesting), fc.double({ noNaN: true }), fc.integer())
  .map(n => (n === 0 ? 0 : n))
const bigint = fc.oneof(
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
  fc.bigInt({ min: -(2n ** 1030n), max: 2n ** 1030n }),
  fc.bigInt({ min: -(2n ** 3000n), max: 2n ** 3000n }),
  fc.constantFrom(
    ...interesting.filter(n => Number.isInteger(n)).flatMap(n => [BigInt(n), BigInt(n) - 1n, BigInt(n) + 1n]),
  ),
)
const text = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      '\0',
      '\u0001',
      'a',
      '\u007f',
      '\u00ff',
      '\uffff',
      '\ud7ff',
      '\ue000',
      '\u{10000}',
      '\u{10ffff}',
    ),
    maxLength: 30,
  }),
)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.array(fc.constantFrom(0, 1, 254, 255), { maxLength: 40 }).map(list => Uint8Array.from(list)),
)
const date = fc.date({ noInvalidDate: true })
const scalar = fc.oneof(fc.constant(null), fc.boolean(), number, bigint, text, date, bytes)
const key: fc.Arbitrary<Key> = fc.letrec<{ key: Key }>(tie => ({
  key: fc.oneof({ depthSize: 'small' }, scalar, fc.array(tie('key'), { maxLength: 4 })),
})).key

describe('encoded keys', () => {
  it('come back as they went in, and end where they say', () => {
    fc.assert(
      fc.property(key, value => {
        const end = encodeKey(value, scratch, 7)
        scratch[end] = 0x30
        const back = decodeKey(scratch, 7, end + 1)
        expect(keyEnd()).toBe(end)
        expect(skipKey(scratch, 7, end + 1)).toBe(end)
        expect(normal(back)).toEqual(normal(value))
        expect(typeof back).toBe(typeof value)
      }),
      { numRuns: 2000 },
    )
  })

  it('order as bytes the way that the values order', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        expect(Math.sign(Buffer.compare(encoded(a), encoded(b)))).toBe(Math.sign(compareValues(a, b)))
      }),
      { numRuns: 5000 },
    )
  })

  it('order numbers and bigints among each other by value', () => {
    fc.assert(
      fc.property(fc.oneof(number, bigint), fc.oneof(number, bigint), (a, b) => {
        const order = a < b ? -1 : a > b ? 1 : typeof a === typeof b ? 0 : typeof a === 'number' ? -1 : 1
        expect(Math.sign(Buffer.compare(encoded(a), encoded(b)))).toBe(order)
      }),
      { numRuns: 5000 },
    )
  })

  it('order in a row as the values do one by one', () => {
    fc.assert(
      fc.property(
        fc.array(key, { minLength: 1, maxLength: 3 }),
        fc.array(key, { minLength: 1, maxLength: 3 }),
        (a, b) => {
          const left = Buffer.concat(a.map(encoded))
          const right = Buffer.concat(b.map(encoded))
          expect(Math.sign(Buffer.compare(left, right))).toBe(Math.sign(compareValues(a, b)))
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('lie between their own bytes and the end of their prefix when something follows, and nothing else does', () => {
    fc.assert(
      fc.property(key, key, key, (a, tail, b) => {
        const prefix = encoded(a)
        const row = Buffer.concat([encoded(b), encoded(tail)])
        const inside = Buffer.compare(row, prefix) >= 0 && Buffer.compare(row, beyond(prefix)) < 0
        expect(inside).toBe(compareValues(a, b) === 0)
      }),
      { numRuns: 3000 },
    )
  })

  it("tell 'a' from ['a'], and one array from another however they nest", () => {
    const shapes: Key[] = ['a', ['a'], [['a']], ['a', null], ['a', []], [[], 'a'], [[['a']]], [null], [], [[]]]
    expect(new Set(shapes.map(shape => encoded(shape).toString('hex'))).size).toBe(shapes.length)
  })

  it('refuse what has no place in the order, naming where', () => {
    expect(codeOf(() => encoded(Number.NaN))).toMatch(/^HYPHA_INVALID .*NaN/)
    expect(codeOf(() => encoded(undefined))).toMatch(/^HYPHA_INVALID/)
    expect(codeOf(() => encoded({ a: 1 }))).toMatch(/^HYPHA_INVALID/)
    expect(codeOf(() => encoded(new Date(Number.NaN)))).toMatch(/^HYPHA_INVALID/)
    expect(codeOf(() => encoded(['x', ['\ud800']]))).toMatch(/^HYPHA_INVALID .*key\[1\]\[0\].*surrogate/)
    expect(codeOf(() => encoded(`${'long enough for the native call'}\udc00`))).toMatch(/surrogate/)
    expect(encoded(-0)).toEqual(encoded(0))
  })

  it('say when the buffer is too small, and fit into a scratch that grows up to its limit', () => {
    fc.assert(
      fc.property(key, fc.nat(40), (value, size) => {
        const small = Buffer.alloc(size)
        const end = encodeKey(value, small, 0)
        const whole = encoded(value)
        if (end >= 0) expect(small.subarray(0, end)).toEqual(whole)
        else expect(whole.length + 4).toBeGreaterThan(size)
      }),
    )
    const growing = new KeyScratch(2048)
    expect(growing.encode('x'.repeat(2000), 'id').length).toBe(2002)
    expect(codeOf(() => growing.encode('x'.repeat(2048), 'id'))).toMatch(/^HYPHA_INVALID .*'id'.*2048/)
    expect(codeOf(() => growing.encode('x'.repeat(100000), 'id'))).toMatch(/^HYPHA_INVALID/)
  })

  it('are refused when damaged, never read past their end', () => {
    fc.assert(
      fc.property(key, fc.nat(), (value, cut) => {
        const whole = encoded(value)
        const part = whole.subarray(0, cut % whole.length)
        let message = ''
        try {
          decodeKey(part)
        } catch (error) {
          message = (error as HyphaError).code
        }
        // A bigint cut behind its double is a number; every other cut is noticed.
        if (message !== 'HYPHA_CORRUPT') expect(keyEnd()).toBeLessThanOrEqual(part.length)
      }),
    )
  })
})

describe('index values', () => {
  it('exist for everything that a document can hold, in the order of values', () => {
    const anything = fc.oneof(
      key,
      fc.constantFrom(undefined, Number.NaN, {}, new Map(), new Set(), new Date(Number.NaN)),
    )
    fc.assert(
      fc.property(anything, anything, (a, b) => {
        const left = Buffer.from(scratch.subarray(0, encodeIndexValue(a, scratch, 0, 'x')))
        const right = Buffer.from(scratch.subarray(0, encodeIndexValue(b, scratch, 0, 'x')))
        expect(Math.sign(Buffer.compare(left, right))).toBe(Math.sign(compareValues(a, b)))
      }),
      { numRuns: 3000 },
    )
  })
})

/** Bytes and dates by content. */
function normal(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`
  if (value instanceof Date) return `date ${value.getTime()}`
  return Array.isArray(value) ? value.map(normal) : value
}
