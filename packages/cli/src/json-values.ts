/**
 * Documents as JSON and back. JSON has no dates, bigints or bytes, so these are written as objects with one field whose
 * name begins with a dollar sign:
 *
 * | value | written as | |
 * |---|---|---|
 * | Date | `"2016-05-03T00:00:00.000Z"` | `{"$date":"2016-05-03T00:00:00.000Z"}` with `--typed` |
 * | bigint | `{"$bigint":"9007199254740993"}` | |
 * | bytes | `{"$bytes":"aHlwaGE="}` (base64) | |
 * | NaN, Infinity, -Infinity, -0 | `{"$number":"NaN"}` and so on | |
 * | an object that looks like one of these | `{"$literal":{"$date":"not a date"}}` | |
 *
 * All of these are understood in documents and filters that come in.
 */
import { CodedFailure } from './failure.js'

const TAGS = new Set(['$date', '$bigint', '$bytes', '$number', '$literal'])

/** One line of JSON, without the line end. `typed` keeps dates apart from text. */
export function toJson(value: unknown, typed = false, indent?: number): string {
  return JSON.stringify(plain(value, typed), undefined, indent) ?? 'null'
}

function plain(value: unknown, typed: boolean): unknown {
  switch (typeof value) {
    case 'bigint':
      return { $bigint: value.toString() }
    case 'number':
      if (!Number.isFinite(value) || Object.is(value, -0))
        return { $number: Object.is(value, -0) ? '-0' : String(value) }
      return value
    case 'object':
      break
    default:
      return value
  }
  if (value === null) return null
  if (Array.isArray(value)) return value.map(item => plain(item, typed))
  if (value instanceof Date) return typed ? { $date: isoOf(value) } : isoOf(value)
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString('base64') }
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
  }
  if (value instanceof Map) return [...value].map(pair => plain(pair, typed))
  if (value instanceof Set) return [...value].map(item => plain(item, typed))
  return plainObject(value, typed)
}

function plainObject(value: object, typed: boolean): unknown {
  const copy: Record<string, unknown> = {}
  let fields = 0
  let tag = false
  for (const [name, item] of Object.entries(value)) {
    if (name === '__proto__') Object.defineProperty(copy, name, { value: plain(item, typed), enumerable: true })
    else copy[name] = plain(item, typed)
    fields++
    tag = TAGS.has(name)
  }
  return fields === 1 && tag ? { $literal: copy } : copy
}

function isoOf(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'Invalid Date' : date.toISOString()
}

/**
 * A value out of JSON text. `what` names it in the message when the text is no JSON.
 */
export function fromJson(text: string, what: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    throw new CodedFailure('HYPHA_INVALID', `${what} is not JSON: ${detail}`, { cause: error })
  }
  return text.includes('"$') || text.includes('\\u0024') ? revive(value) : value
}

function revive(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(revive)
  const entries = Object.entries(value)
  const only = entries.length === 1 ? entries[0] : undefined
  if (only !== undefined && TAGS.has(only[0])) return reviveTag(only[0], only[1])
  return reviveFields(entries)
}

function reviveFields(entries: [string, unknown][]): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const [name, item] of entries) {
    if (name === '__proto__')
      Object.defineProperty(copy, name, { value: revive(item), enumerable: true, configurable: true, writable: true })
    else copy[name] = revive(item)
  }
  return copy
}

function reviveTag(tag: string, value: unknown): unknown {
  switch (tag) {
    case '$date': {
      const date = typeof value === 'string' || typeof value === 'number' ? new Date(value) : undefined
      if (date === undefined || Number.isNaN(date.getTime()))
        throw badTag(tag, value, 'an ISO date, such as "2016-05-03"')
      return date
    }
    case '$bigint':
      if (typeof value !== 'string' || !/^-?\d+$/.test(value)) throw badTag(tag, value, 'digits as text')
      return BigInt(value)
    case '$bytes':
      if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw badTag(tag, value, 'base64 text')
      return new Uint8Array(Buffer.from(value, 'base64'))
    case '$number': {
      const numbers: Record<string, number> = { NaN: Number.NaN, Infinity, '-Infinity': -Infinity, '-0': -0 }
      const number = typeof value === 'string' ? numbers[value] : undefined
      if (number === undefined) throw badTag(tag, value, '"NaN", "Infinity", "-Infinity" or "-0"')
      return number
    }
    default:
      return typeof value === 'object' && value !== null && !Array.isArray(value)
        ? reviveFields(Object.entries(value))
        : revive(value)
  }
}

function badTag(tag: string, value: unknown, wanted: string): CodedFailure {
  return new CodedFailure('HYPHA_INVALID', `{"${tag}":${JSON.stringify(value)}}: expected ${wanted}`)
}
