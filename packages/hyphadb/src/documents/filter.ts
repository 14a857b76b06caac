/**
 * Filters in MongoDB's style: from what the user wrote to a checked tree. Whatever is not understood is refused by name;
 * nothing in a filter is ever run as code.
 *
 * Supported: $eq $ne $gt $gte $lt $lte $in $nin $exists $regex($options) $size $all $elemMatch $type $mod $not $and $or $nor.
 */
import { HyphaError } from '../base/errors.js'
import { RANK_OTHER, rankOf } from './order.js'
import { type Path, parsePath } from './paths.js'

export type Filter = { readonly [field: string]: unknown }

/** What a single field is asked. */
export type Test =
  | { readonly kind: 'eq'; readonly value: unknown }
  | { readonly kind: 'in'; readonly values: readonly unknown[]; readonly patterns: readonly RegExp[] }
  | { readonly kind: 'gt' | 'gte' | 'lt' | 'lte'; readonly value: unknown }
  | { readonly kind: 'exists'; readonly wanted: boolean }
  | { readonly kind: 'regex'; readonly pattern: RegExp }
  | { readonly kind: 'size'; readonly size: number }
  | { readonly kind: 'all'; readonly tests: readonly Test[] }
  | { readonly kind: 'elemMatch'; readonly filter: FilterNode | undefined; readonly tests: readonly Test[] }
  | { readonly kind: 'type'; readonly types: readonly string[] }
  | { readonly kind: 'mod'; readonly divisor: number; readonly remainder: number }
  | { readonly kind: 'not'; readonly tests: readonly Test[] }

export type FilterNode =
  | { readonly kind: 'and' | 'or' | 'nor'; readonly nodes: readonly FilterNode[] }
  | { readonly kind: 'field'; readonly path: Path; readonly test: Test }

function invalid(message: string): HyphaError {
  return new HyphaError('HYPHA_INVALID', message)
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** An object of operators, as opposed to a value to be equal to. */
function isOperators(value: unknown): value is Record<string, unknown> {
  if (!isPlain(value)) return false
  const names = Object.keys(value)
  const operators = names.filter(name => name.startsWith('$')).length
  if (operators > 0 && operators < names.length)
    throw invalid(`A filter mixes operators and fields in one object: ${names.join(', ')}`)
  return operators > 0
}

/** Checks a filter. No filter, or an empty one, is everything. */
export function parseFilter(filter: Filter | undefined): FilterNode {
  if (filter === undefined) return { kind: 'and', nodes: [] }
  if (!isPlain(filter)) throw invalid("A filter is a plain object such as { town: 'LEEDS', price: { $gte: 100000 } }")
  const nodes: FilterNode[] = []
  for (const name of Object.keys(filter)) {
    const wanted = filter[name]
    if (name === '$and') nodes.push(...parseList(name, wanted))
    else if (name === '$or' || name === '$nor')
      nodes.push({ kind: name === '$or' ? 'or' : 'nor', nodes: parseList(name, wanted) })
    else if (name === '$comment') continue
    else if (name.startsWith('$')) throw unknownOperator(name)
    else nodes.push(...parseField(parsePath(name, 'The field'), wanted))
  }
  return nodes.length === 1 ? nodes[0] : { kind: 'and', nodes }
}

function unknownOperator(name: string): HyphaError {
  return invalid(`Unknown operator '${name}' in a filter`)
}

function parseList(name: string, value: unknown): FilterNode[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid(`${name} takes a list of filters that is not empty`)
  return value.map(item => parseFilter(item as Filter))
}

function parseField(path: Path, wanted: unknown): FilterNode[] {
  return parseTests(wanted, path.text).map(test => ({ kind: 'field', path, test }))
}

function parseTests(wanted: unknown, where: string): Test[] {
  if (wanted instanceof RegExp) return [{ kind: 'regex', pattern: withoutState(wanted) }]
  if (!isOperators(wanted)) return [{ kind: 'eq', value: operand(wanted, where) }]
  const tests: Test[] = []
  for (const name of Object.keys(wanted)) {
    if (name === '$options') {
      if (!('$regex' in wanted)) throw invalid(`$options at '${where}' belongs beside $regex`)
      continue
    }
    tests.push(parseOperator(name, wanted[name], wanted, where))
  }
  return tests
}

function operand(value: unknown, where: string): unknown {
  if (value === undefined) {
    throw invalid(`The filter on '${where}' is undefined: leave the field out, or ask for null or { $exists: false }`)
  }
  if (typeof value === 'function' || typeof value === 'symbol')
    throw invalid(`The filter on '${where}' is a ${typeof value}`)
  return value
}

function parseOperator(name: string, value: unknown, siblings: Record<string, unknown>, where: string): Test {
  switch (name) {
    case '$eq':
      return { kind: 'eq', value: operand(value, where) }
    case '$ne':
      return { kind: 'not', tests: [{ kind: 'eq', value: operand(value, where) }] }
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte':
      if (rankOf(operand(value, where)) === RANK_OTHER)
        throw invalid(`${name} on '${where}' compares with an object, which has no order`)
      return { kind: name.slice(1) as 'gt' | 'gte' | 'lt' | 'lte', value }
    case '$in':
      return parseIn(name, value, where)
    case '$nin':
      return { kind: 'not', tests: [parseIn(name, value, where)] }
    case '$exists':
      if (typeof value !== 'boolean' && value !== 0 && value !== 1)
        throw invalid(`$exists on '${where}' takes true or false`)
      return { kind: 'exists', wanted: Boolean(value) }
    case '$regex':
      return { kind: 'regex', pattern: parseRegex(value, siblings.$options, where) }
    case '$size':
      if (!Number.isInteger(value) || (value as number) < 0) throw invalid(`$size on '${where}' takes a whole number`)
      return { kind: 'size', size: value as number }
    default:
      return parseStructural(name, value, where)
  }
}

function parseStructural(name: string, value: unknown, where: string): Test {
  switch (name) {
    case '$all':
      return parseAll(value, where)
    case '$elemMatch':
      return parseElemMatch(value, where)
    case '$type':
      return { kind: 'type', types: (Array.isArray(value) ? value : [value]).map(type => parseType(type, where)) }
    case '$mod':
      return parseMod(value, where)
    case '$not':
      if (!(value instanceof RegExp) && !isOperators(value))
        throw invalid(`$not on '${where}' takes operators or a regular expression`)
      return { kind: 'not', tests: parseTests(value, where) }
    default:
      throw unknownOperator(name)
  }
}

function parseIn(name: string, value: unknown, where: string): Test {
  if (!Array.isArray(value)) throw invalid(`${name} on '${where}' takes a list`)
  const patterns = value.filter(item => item instanceof RegExp).map(withoutState)
  const values = value.filter(item => !(item instanceof RegExp)).map((item: unknown) => operand(item, where))
  return { kind: 'in', values, patterns }
}

/** A global or sticky expression remembers where it matched last; filters must not. */
function withoutState(pattern: RegExp): RegExp {
  const flags = pattern.flags.replace(/[gy]/g, '')
  return flags === pattern.flags ? pattern : new RegExp(pattern.source, flags)
}

function parseRegex(value: unknown, options: unknown, where: string): RegExp {
  if (options !== undefined && typeof options !== 'string') throw invalid(`$options on '${where}' takes a string`)
  if (value instanceof RegExp)
    return options === undefined ? withoutState(value) : compile(value.source, options, where)
  if (typeof value !== 'string') throw invalid(`$regex on '${where}' takes a string or a regular expression`)
  return compile(value, options ?? '', where)
}

function compile(source: string, flags: string, where: string): RegExp {
  if (!/^[imsu]*$/.test(flags)) throw invalid(`$options on '${where}' may hold i, m, s and u, not '${flags}'`)
  try {
    return new RegExp(source, flags)
  } catch (error) {
    throw new HyphaError(
      'HYPHA_INVALID',
      `$regex on '${where}' is no regular expression: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

function parseAll(value: unknown, where: string): Test {
  if (!Array.isArray(value)) throw invalid(`$all on '${where}' takes a list`)
  const tests = value.map((item: unknown): Test => {
    if (isPlain(item) && '$elemMatch' in item) return parseElemMatch(item.$elemMatch, where)
    if (item instanceof RegExp) return { kind: 'regex', pattern: withoutState(item) }
    return { kind: 'eq', value: operand(item, where) }
  })
  return { kind: 'all', tests }
}

const LOGICAL = new Set(['$and', '$or', '$nor'])

function parseElemMatch(value: unknown, where: string): Test {
  if (!isPlain(value)) throw invalid(`$elemMatch on '${where}' takes an object`)
  const names = Object.keys(value)
  if (names.length > 0 && names.every(name => name.startsWith('$') && !LOGICAL.has(name))) {
    return { kind: 'elemMatch', filter: undefined, tests: parseTests(value, where) }
  }
  return { kind: 'elemMatch', filter: parseFilter(value), tests: [] }
}

/** Names of types, with MongoDB's other names and numbers for them. */
const TYPES: Readonly<Record<string, string>> = {
  number: 'number',
  double: 'number',
  int: 'number',
  long: 'number',
  decimal: 'number',
  1: 'number',
  16: 'number',
  18: 'number',
  bigint: 'bigint',
  string: 'string',
  2: 'string',
  object: 'object',
  3: 'object',
  array: 'array',
  4: 'array',
  bytes: 'bytes',
  binData: 'bytes',
  5: 'bytes',
  undefined: 'undefined',
  6: 'undefined',
  bool: 'boolean',
  boolean: 'boolean',
  8: 'boolean',
  date: 'date',
  9: 'date',
  null: 'null',
  10: 'null',
  map: 'map',
  set: 'set',
}

function parseType(type: unknown, where: string): string {
  const name = typeof type === 'string' || typeof type === 'number' ? String(type) : ''
  if (!Object.hasOwn(TYPES, name)) throw invalid(`$type on '${where}' does not know '${String(type)}'`)
  return TYPES[name]
}

function parseMod(value: unknown, where: string): Test {
  if (!Array.isArray(value) || value.length !== 2 || !value.every(item => Number.isInteger(item)) || value[0] === 0) {
    throw invalid(`$mod on '${where}' takes [divisor, remainder], whole numbers, the first not 0`)
  }
  return { kind: 'mod', divisor: value[0] as number, remainder: value[1] as number }
}
