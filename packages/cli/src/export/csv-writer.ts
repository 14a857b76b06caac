/**
 * Lines of CSV (RFC 4180). Text stands as it is, quoted where it must be; dates as ISO text, null and absent as nothing,
 * anything composed as JSON.
 */
import { toJson } from '../json-values.js'

export function csvLine(values: readonly unknown[]): string {
  // A record of one empty field would be a blank line, which readers pass over.
  if (values.length === 1 && textOf(values[0]) === '') return '""'
  return values.map(value => quoted(textOf(value))).join(',')
}

function textOf(value: unknown): string {
  switch (typeof value) {
    case 'undefined':
      return ''
    case 'string':
      return value
    case 'bigint':
    case 'number':
    case 'boolean':
      return Object.is(value, -0) ? '-0' : String(value)
    default:
      break
  }
  if (value === null) return ''
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '' : value.toISOString()
  return toJson(value)
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text
}
