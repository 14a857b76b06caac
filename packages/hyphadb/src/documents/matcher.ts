/**
 * Filters as functions. A checked filter (filter.ts) becomes one closure per node; the common case, a top-level field
 * holding a scalar, costs a property access and a comparison.
 *
 * Rules, MongoDB's unless said otherwise: a test on a field holds when the value, or any item of an array, passes; a
 * missing field counts as null; comparisons stay within one class of values and follow order.ts (so a bigint differs from
 * the number of the same value and comes right after it). The document's key is never taken apart, even if it is an array.
 */
import type { FilterNode, Test } from './filter.js'
import { compareStrings, compareValues, RANK_NUMBER, RANK_STRING, rankOf, sameValue } from './order.js'
import { leavesOf, type Path } from './paths.js'

export type Matcher = (document: object) => boolean
type ValueTest = (value: unknown) => boolean

const always: Matcher = () => true

/** Compiles a filter. `key` is the field that holds the document's key. */
export function compileFilter(node: FilterNode, key: string): Matcher {
  if (node.kind === 'field') return compileField(node.path, node.test, key)
  const matchers = node.nodes.map(inner => compileFilter(inner, key))
  switch (node.kind) {
    case 'and':
      return allOf(matchers)
    case 'or':
      return document => matchers.some(matcher => matcher(document))
    default:
      return document => !matchers.some(matcher => matcher(document))
  }
}

function allOf(matchers: readonly Matcher[]): Matcher {
  if (matchers.length === 0) return always
  const [first, second] = matchers
  if (matchers.length === 1) return first
  if (matchers.length === 2) return document => first(document) && second(document)
  return document => {
    for (let i = 0; i < matchers.length; i++) if (!matchers[i](document)) return false
    return true
  }
}

function compileField(path: Path, test: Test, key: string): Matcher {
  const field = path.field
  if (field === key) {
    const passes = compileTest(test, false)
    return document => passes((document as Record<string, unknown>)[field])
  }
  if (field !== undefined) {
    const passes = compileTest(test, true)
    return document => passes((document as Record<string, unknown>)[field])
  }
  if (test.kind === 'not') {
    // None of the values that the path leads to may pass, not just one of them.
    const inner = test.tests.map(each => compileField(path, each, key))
    const matches = allOf(inner)
    return document => !matches(document)
  }
  if (test.kind === 'all') {
    if (test.tests.length === 0) return () => false
    return allOf(test.tests.map(each => compileField(path, each, key)))
  }
  if (test.kind === 'exists') {
    return document => anyLeaf(document, path, leaf => leaf !== undefined) === test.wanted
  }
  const passes = compileTest(test, true)
  return document => anyLeaf(document, path, passes)
}

function anyLeaf(document: object, path: Path, passes: ValueTest): boolean {
  const leaves: unknown[] = []
  leavesOf(document, path, leaves)
  return leaves.some(passes)
}

/** A test on the value at a field; with `items`, an array passes also when one of its items does. */
function compileTest(test: Test, items: boolean): ValueTest {
  switch (test.kind) {
    case 'eq':
      return compileEqual(test.value, items)
    case 'in':
      return compileIn(test.values, test.patterns, items)
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return orItem(compileRange(test.kind, test.value), items)
    case 'exists':
      return value => (value !== undefined) === test.wanted
    case 'regex':
      return orItem(compileRegex(test.pattern), items)
    case 'size':
      return value => Array.isArray(value) && value.length === test.size
    case 'all': {
      const tests = test.tests.map(each => compileTest(each, items))
      return value => tests.length > 0 && tests.every(passes => passes(value))
    }
    case 'elemMatch':
      return compileElemMatch(test.filter, test.tests)
    case 'type':
      return compileType(test.types, items)
    case 'mod':
      return orItem(value => isRemainder(value, test.divisor, test.remainder), items)
    case 'not': {
      const tests = test.tests.map(each => compileTest(each, items))
      return value => !tests.every(passes => passes(value))
    }
  }
}

function orItem(passes: ValueTest, items: boolean): ValueTest {
  if (!items) return passes
  return value => {
    if (passes(value)) return true
    return typeof value === 'object' && Array.isArray(value) && value.some(passes)
  }
}

function compileEqual(wanted: unknown, items: boolean): ValueTest {
  if (wanted === null) return orItem(value => value === null || value === undefined, items)
  if (typeof wanted === 'object' || wanted !== wanted) return orItem(value => sameValue(value, wanted), items)
  if (!items) return value => value === wanted
  return value => value === wanted || (typeof value === 'object' && Array.isArray(value) && value.includes(wanted))
}

function compileIn(values: readonly unknown[], patterns: readonly RegExp[], items: boolean): ValueTest {
  const simple = new Set<unknown>()
  const others: ValueTest[] = patterns.map(compileRegex)
  for (const value of values) {
    if (value === null) simple.add(null).add(undefined)
    else if (typeof value === 'object') others.push(candidate => sameValue(candidate, value))
    else simple.add(value)
  }
  const passes: ValueTest =
    others.length === 0 ? value => simple.has(value) : value => simple.has(value) || others.some(other => other(value))
  return orItem(passes, items)
}

function compileRange(kind: 'gt' | 'gte' | 'lt' | 'lte', bound: unknown): ValueTest {
  const rank = rankOf(bound)
  if (rank === RANK_NUMBER && typeof bound === 'number') return compileNumberRange(kind, bound)
  if (rank === RANK_STRING) {
    const accepts = acceptor(kind)
    return value => typeof value === 'string' && accepts(compareStrings(value, bound as string))
  }
  const accepts = acceptor(kind)
  return value => rankOf(value) === rank && accepts(compareValues(value, bound))
}

function acceptor(kind: 'gt' | 'gte' | 'lt' | 'lte'): (order: number) => boolean {
  switch (kind) {
    case 'gt':
      return order => order > 0
    case 'gte':
      return order => order >= 0
    case 'lt':
      return order => order < 0
    default:
      return order => order <= 0
  }
}

function compileNumberRange(kind: 'gt' | 'gte' | 'lt' | 'lte', bound: number): ValueTest {
  const accepts = acceptor(kind)
  const big: ValueTest = value => typeof value === 'bigint' && accepts(compareValues(value, bound))
  switch (kind) {
    case 'gt':
      return value => (typeof value === 'number' ? value > bound : big(value))
    case 'gte':
      return value => (typeof value === 'number' ? value >= bound : big(value))
    case 'lt':
      return value => (typeof value === 'number' ? value < bound : big(value))
    default:
      return value => (typeof value === 'number' ? value <= bound : big(value))
  }
}

function compileRegex(pattern: RegExp): ValueTest {
  return value => typeof value === 'string' && pattern.test(value)
}

function compileElemMatch(filter: FilterNode | undefined, tests: readonly Test[]): ValueTest {
  if (filter !== undefined) {
    const matches = compileFilter(filter, '')
    return value =>
      Array.isArray(value) && value.some(item => typeof item === 'object' && item !== null && matches(item as object))
  }
  const passes = tests.map(test => compileTest(test, true))
  return value => Array.isArray(value) && value.some(item => passes.every(pass => pass(item)))
}

function compileType(types: readonly string[], items: boolean): ValueTest {
  const wanted = new Set(types)
  const passes: ValueTest = value => wanted.has(typeName(value))
  return orItem(passes, items)
}

function typeName(value: unknown): string {
  if (typeof value !== 'object') return typeof value
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (value instanceof Date) return 'date'
  if (value instanceof Uint8Array) return 'bytes'
  if (value instanceof Map) return 'map'
  return value instanceof Set ? 'set' : 'object'
}

function isRemainder(value: unknown, divisor: number, remainder: number): boolean {
  if (typeof value === 'number') return Math.trunc(value) % divisor === remainder
  return typeof value === 'bigint' && value % BigInt(divisor) === BigInt(remainder)
}
