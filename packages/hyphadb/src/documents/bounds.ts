/**
 * Bounds: tests on fields as half-open ranges of encoded keys.
 *
 * Everything that starts with the bytes P lies in [P, P + TAG_BEYOND): what follows an encoded value is a tag or the end,
 * both below TAG_BEYOND, and only the bytes of a longer value (a bigint's rest, an escaped zero) lie above.
 */
import { compareBytes } from '../base/bytes.js'
import type { Test } from './filter.js'
import type { KeyScratch } from './key-scratch.js'
import {
  TAG_ARRAY,
  TAG_BEYOND,
  TAG_BYTES,
  TAG_DATE,
  TAG_FALSE,
  TAG_NAN,
  TAG_NULL,
  TAG_NUMBER,
  TAG_STRING,
} from './keys.js'
import {
  RANK_ARRAY,
  RANK_BOOLEAN,
  RANK_BYTES,
  RANK_DATE,
  RANK_NAN,
  RANK_NULL,
  RANK_NUMBER,
  RANK_OTHER,
  RANK_STRING,
  rankOf,
} from './order.js'

/** Keys from `gte` up to but not including `lt`. */
export interface ByteRange {
  readonly gte: Uint8Array
  readonly lt: Uint8Array
}

/** What the tests on one field allow. */
export interface FieldBounds {
  /** Encoded values, ascending and distinct; or undefined when it is a range. */
  readonly points: readonly Uint8Array[] | undefined
  readonly range: ByteRange | undefined
  /** Tests that the bounds answer completely. */
  readonly consumed: readonly Test[]
  /** The tests that they come from, for explain(). */
  readonly from: readonly Test[]
  /** No value in these bounds is null or absent. */
  readonly present: boolean
}

/** Ranges beyond this many are not worth their seeks. */
export const MAX_POINTS = 1000

export function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length)
  joined.set(a)
  joined.set(b, a.length)
  return joined
}

const BEYOND = Uint8Array.of(TAG_BEYOND)

/** The end of all keys that start with these bytes. */
export function beyond(prefix: Uint8Array): Uint8Array {
  return concatenate(prefix, BEYOND)
}

/** First byte, and the byte after the last, of each class of values. */
const CLASS_TAGS: Readonly<Record<number, readonly [number, number]>> = {
  [RANK_NULL]: [TAG_NULL, TAG_NULL + 1],
  [RANK_BOOLEAN]: [TAG_FALSE, TAG_FALSE + 2],
  [RANK_NAN]: [TAG_NAN, TAG_NAN + 1],
  [RANK_NUMBER]: [TAG_NUMBER, TAG_NUMBER + 1],
  [RANK_STRING]: [TAG_STRING, TAG_STRING + 1],
  [RANK_DATE]: [TAG_DATE, TAG_DATE + 1],
  [RANK_BYTES]: [TAG_BYTES, TAG_BYTES + 1],
  [RANK_ARRAY]: [TAG_ARRAY, TAG_ARRAY + 1],
}

export interface BoundsContext {
  readonly scratch: KeyScratch
  /** The document's key: arrays are whole values and have an order. */
  readonly isKey: boolean
  /** Documents may have several entries: each test speaks of another one, so only one can bound the scan. */
  readonly several: boolean
}

function isBoundable(value: unknown, context: BoundsContext): boolean {
  const rank = rankOf(value)
  return rank < RANK_ARRAY || (rank === RANK_ARRAY && context.isKey)
}

function encode(value: unknown, context: BoundsContext): Uint8Array | undefined {
  try {
    const end = context.scratch.appendIndexed(value, 0, 'filter')
    return context.scratch.copyWith(end)
  } catch {
    return undefined // longer than a key can be, or no unicode: let the filter say no
  }
}

/** The bounds that these tests on one field give; undefined when they give none. */
export function boundsOf(tests: readonly Test[], context: BoundsContext): FieldBounds | undefined {
  for (const test of tests) {
    const points = pointsOf(test, context)
    if (points !== undefined) return points
  }
  return rangeOf(tests, context)
}

function pointsOf(test: Test, context: BoundsContext): FieldBounds | undefined {
  if (test.kind === 'all') {
    const first = test.tests.find(each => each.kind === 'eq' && isBoundable(each.value, context))
    const bounds = first === undefined ? undefined : pointsOf(first, context)
    return bounds === undefined ? undefined : { ...bounds, consumed: [] }
  }
  if (test.kind !== 'eq' && test.kind !== 'in') return undefined
  if (test.kind === 'in' && (test.patterns.length > 0 || test.values.length > MAX_POINTS)) return undefined
  const values = test.kind === 'eq' ? [test.value] : test.values
  const points: Uint8Array[] = []
  for (const value of values) {
    if (!isBoundable(value, context)) return undefined
    const point = encode(value, context)
    if (point === undefined) return undefined
    points.push(point)
  }
  points.sort(compareBytes)
  return {
    points: points.filter((point, i) => i === 0 || compareBytes(points[i - 1], point) !== 0),
    range: undefined,
    consumed: [test],
    from: [test],
    present: values.every(value => value !== null),
  }
}

function rangeOf(tests: readonly Test[], context: BoundsContext): FieldBounds | undefined {
  let gte: Uint8Array | undefined
  let lt: Uint8Array | undefined
  let present = false
  const consumed: Test[] = []
  const from: Test[] = []
  for (const test of tests) {
    const range = rangeOfTest(test, context)
    if (range === undefined) continue
    if (gte === undefined || compareBytes(range.gte, gte) > 0) gte = range.gte
    if (lt === undefined || compareBytes(range.lt, lt) < 0) lt = range.lt
    if (test.kind !== 'regex') consumed.push(test)
    present ||= range.present
    from.push(test)
    if (context.several) break
  }
  if (gte === undefined || lt === undefined) return undefined
  return { points: undefined, range: { gte, lt }, consumed, from, present }
}

interface TestRange extends ByteRange {
  readonly present: boolean
}

function rangeOfTest(test: Test, context: BoundsContext): TestRange | undefined {
  if (test.kind === 'regex') return prefixRange(test.pattern, context)
  if (test.kind !== 'gt' && test.kind !== 'gte' && test.kind !== 'lt' && test.kind !== 'lte') return undefined
  const rank = rankOf(test.value)
  if (rank === RANK_OTHER || !isBoundable(test.value, context)) return undefined
  const bound = encode(test.value, context)
  if (bound === undefined) return undefined
  const [first, last] = CLASS_TAGS[rank]
  const present = rank !== RANK_NULL
  switch (test.kind) {
    case 'gt':
      return { gte: beyond(bound), lt: Uint8Array.of(last), present }
    case 'gte':
      return { gte: bound, lt: Uint8Array.of(last), present }
    case 'lt':
      return { gte: Uint8Array.of(first), lt: bound, present }
    default:
      return { gte: Uint8Array.of(first), lt: beyond(bound), present }
  }
}

/** /^LEE/ looks only at strings that start so. The expression itself stays to be tested. */
function prefixRange(pattern: RegExp, context: BoundsContext): TestRange | undefined {
  if (pattern.flags !== '' || pattern.source.includes('|')) return undefined
  const literal = /^\^([A-Za-z0-9 _,:;@'"-]+)(?![*+?{])/.exec(pattern.source)?.[1]
  if (literal === undefined) return undefined
  // A quantifier behind the literal would make its last character optional; the look-ahead then gives one character back.
  const encoded = encode(literal, context)
  if (encoded === undefined) return undefined
  const gte = encoded.subarray(0, encoded.length - 1)
  const lt = Uint8Array.from(gte)
  lt[lt.length - 1]++ // the last byte of an ASCII literal, far from 0xff
  return { gte, lt, present: true }
}

/** Puts a prefix in front of what a field's bounds allow: the ranges of a compound key, ascending. */
export function extendRanges(prefixes: readonly Uint8Array[], bounds: FieldBounds): ByteRange[] {
  const ranges: ByteRange[] = []
  for (const prefix of prefixes) {
    if (bounds.points !== undefined) {
      for (const point of bounds.points) {
        const key = prefix.length === 0 ? point : concatenate(prefix, point)
        ranges.push({ gte: key, lt: beyond(key) })
      }
    } else if (bounds.range !== undefined && compareBytes(bounds.range.gte, bounds.range.lt) < 0) {
      ranges.push({ gte: concatenate(prefix, bounds.range.gte), lt: concatenate(prefix, bounds.range.lt) })
    }
  }
  return ranges
}

const SIGNS = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const

function describe(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString('hex')}`
  return JSON.stringify(value) ?? String(value)
}

function describeTest(test: Test): string {
  switch (test.kind) {
    case 'eq':
      return `= ${describe(test.value)}`
    case 'in':
      return `in [${test.values.map(describe).join(', ')}]`
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return `${SIGNS[test.kind]} ${describe(test.value)}`
    case 'regex':
      return `starts like ${String(test.pattern)}`
    default:
      return test.kind
  }
}

/** What the bounds ask of their field, in words. */
export function describeBounds(bounds: FieldBounds): string {
  return bounds.from.map(describeTest).join(' and ')
}
