/**
 * The one order of values: what keys.ts does with bytes, done with values. Sorting in memory, comparing in filters and
 * reading an index agree because both follow it (a property test holds them together).
 *
 *   missing = undefined = null < false < true < NaN < numbers and bigints < strings < dates < bytes < arrays < the rest
 */

export const RANK_NULL = 0
export const RANK_BOOLEAN = 1
export const RANK_NAN = 2
export const RANK_NUMBER = 3
export const RANK_STRING = 4
export const RANK_DATE = 5
export const RANK_BYTES = 6
export const RANK_ARRAY = 7
export const RANK_OTHER = 8

/** The class of a value: classes never interleave. */
export function rankOf(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return RANK_STRING
    case 'number':
      return value === value ? RANK_NUMBER : RANK_NAN
    case 'bigint':
      return RANK_NUMBER
    case 'boolean':
      return RANK_BOOLEAN
    case 'undefined':
      return RANK_NULL
    default:
      if (value === null) return RANK_NULL
      if (value instanceof Date) return Number.isNaN(value.getTime()) ? RANK_OTHER : RANK_DATE
      if (value instanceof Uint8Array) return RANK_BYTES
      return Array.isArray(value) ? RANK_ARRAY : RANK_OTHER
  }
}

/** Strings by code point. `<` compares UTF-16 units and puts what lies beyond U+FFFF before U+E000. */
export function compareStrings(a: string, b: string): number {
  if (a === b) return 0
  const shorter = a.length < b.length ? a.length : b.length
  for (let i = 0; i < shorter; i++) {
    const left = a.charCodeAt(i)
    const right = b.charCodeAt(i)
    if (left !== right) {
      if (left >= 0xd800 && right >= 0xd800) {
        // A surrogate stands for a code point above all single units.
        const leftSurrogate = left < 0xe000
        if (leftSurrogate !== right < 0xe000) return leftSurrogate ? 1 : -1
      }
      return left < right ? -1 : 1
    }
  }
  return a.length < b.length ? -1 : 1
}

/** A bigint follows the number of the same value. */
function compareNumbers(a: number | bigint, b: number | bigint): number {
  if (a < b) return -1
  if (a > b) return 1
  if (typeof a === typeof b) return 0
  return typeof a === 'number' ? -1 : 1
}

function compareArrays(a: readonly unknown[], b: readonly unknown[]): number {
  const shorter = Math.min(a.length, b.length)
  for (let i = 0; i < shorter; i++) {
    const order = compareValues(a[i], b[i])
    if (order !== 0) return order
  }
  return a.length - b.length
}

/** Negative, zero or positive, as for `Array.prototype.sort`. Objects, Maps and Sets are all alike. */
export function compareValues(a: unknown, b: unknown): number {
  if (a === b) return 0
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b)
  if (typeof a === 'number' && typeof b === 'number' && a === a && b === b) return a < b ? -1 : 1
  const rank = rankOf(a)
  const difference = rank - rankOf(b)
  if (difference !== 0) return difference
  switch (rank) {
    case RANK_BOOLEAN:
      return a ? 1 : -1
    case RANK_NUMBER:
      return compareNumbers(a as number | bigint, b as number | bigint)
    case RANK_DATE:
      return (a as Date).getTime() - (b as Date).getTime()
    case RANK_BYTES:
      return Buffer.compare(a as Uint8Array, b as Uint8Array)
    case RANK_ARRAY:
      return compareArrays(a as readonly unknown[], b as readonly unknown[])
    default:
      return 0
  }
}

/**
 * Equal as documents: same kind and same content, whatever the order of an object's fields. -0 equals 0 and NaN equals
 * NaN; a number is not equal to a bigint; a Buffer equals a Uint8Array of the same bytes.
 */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a !== a && b !== b
  if (a instanceof Date)
    return (
      b instanceof Date && (a.getTime() === b.getTime() || (Number.isNaN(a.getTime()) && Number.isNaN(b.getTime())))
    )
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => sameValue(item, b[i]))
  if (a instanceof Map) return b instanceof Map && sameEntries(a, b)
  if (a instanceof Set) return b instanceof Set && sameMembers(a, b)
  if (Array.isArray(b) || b instanceof Date || b instanceof Uint8Array || b instanceof Map || b instanceof Set)
    return false
  return sameFields(a as Record<string, unknown>, b as Record<string, unknown>)
}

function sameFields(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  return names.every(name => Object.hasOwn(b, name) && sameValue(a[name], b[name]))
}

function sameEntries(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a) if (!b.has(key) || !sameValue(value, b.get(key))) return false
  return true
}

function sameMembers(a: ReadonlySet<unknown>, b: ReadonlySet<unknown>): boolean {
  if (a.size !== b.size) return false
  for (const member of a) if (!b.has(member)) return false
  return true
}
