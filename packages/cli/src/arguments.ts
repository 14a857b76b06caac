/**
 * Reads what stands on the command line into values, or throws a `UsageFailure` that says what was expected.
 */
import type { Document, Filter } from './database.js'
import { messageOf, UsageFailure } from './failure.js'
import { fromJson } from './json-values.js'

/** A whole number within bounds; `name` is the option for the message. */
export function wholeNumber(
  name: string,
  minimum: number,
  maximum: number = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return text => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (Number.isNaN(number) || number < minimum || number > maximum) {
      const bounds = maximum === Number.MAX_SAFE_INTEGER ? `from ${minimum} up` : `from ${minimum} to ${maximum}`
      throw new UsageFailure(`${name} ${text}: expected a whole number ${bounds}`)
    }
    return number
  }
}

/** A filter as JSON; absent means every document. */
export function filterFrom(text: string | undefined): Filter {
  return text === undefined ? {} : jsonObject(text, 'the filter')
}

export function documentFrom(text: string): Document {
  return jsonObject(text, 'the document')
}

function jsonObject(text: string, what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = fromJson(text, what)
  } catch (error) {
    throw new UsageFailure(messageOf(error), { cause: error })
  }
  const isPlain =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.getPrototypeOf(value) === Object.prototype
  if (!isPlain) throw new UsageFailure(`${what} should be a JSON object, such as {"town":"LEEDS"}`)
  return value as Record<string, unknown>
}

/**
 * `price:-1,town` or `{"price":-1}`. A field alone, or with 1, is upwards; -1 is downwards.
 */
export function sortFrom(text: string): Record<string, 1 | -1> {
  const isJson = text.trim().startsWith('{')
  const pairs: [string, unknown][] = isJson
    ? Object.entries(jsonObject(text, '--sort'))
    : fieldsFrom('--sort', text).map(pairOf)
  const sort: Record<string, 1 | -1> = {}
  for (const [field, direction] of pairs) {
    if (direction !== 1 && direction !== -1)
      throw new UsageFailure(`--sort ${text}: ${field} wants 1 (upwards) or -1 (downwards)`)
    sort[field] = direction
  }
  return sort
}

function pairOf(part: string): [string, unknown] {
  const colon = part.lastIndexOf(':')
  return colon === -1 ? [part, 1] : [part.slice(0, colon), Number(part.slice(colon + 1))]
}

/** Names between commas. */
export function fieldsFrom(name: string, text: string): string[] {
  const fields = text.split(',').map(field => field.trim())
  if (fields.includes('')) throw new UsageFailure(`${name} ${text}: expected field names between commas`)
  return fields
}

/** Collects an option that may stand several times. */
export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}
