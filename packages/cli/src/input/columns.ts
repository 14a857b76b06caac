/**
 * Turns the fields of a CSV record into a document: a name and a type for each column. An empty field is left out of the
 * document, whatever its type.
 */
import { messageOf, UsageFailure } from '../failure.js'
import { fromJson } from '../json-values.js'

export const COLUMN_TYPES = ['text', 'number', 'bigint', 'boolean', 'date', 'json'] as const
export type ColumnType = (typeof COLUMN_TYPES)[number]

export interface Column {
  readonly name: string
  readonly type: ColumnType
}

/** Builds a document, or throws a `FieldProblem` that says which column is wrong. The array is not kept. */
export type DocumentBuilder = (fields: readonly string[]) => Record<string, unknown>

/** A field that does not fit its column: the row is rejected, the import goes on. */
export class FieldProblem extends Error {
  override readonly name = 'FieldProblem'
}

/** Reads `id,price:number,date:date`. A column without a type is text. */
export function parseColumns(list: string): Column[] {
  const columns = list.split(',').map(part => {
    const colon = part.lastIndexOf(':')
    const name = (colon === -1 ? part : part.slice(0, colon)).trim()
    if (name === '') throw new UsageFailure(`--columns ${list}: a column has no name`)
    return { name, type: colon === -1 ? 'text' : parseType(part.slice(colon + 1).trim(), list) } as const
  })
  refuseRepeated(
    columns.map(column => column.name),
    name => new UsageFailure(`--columns ${list}: ${name} stands there twice`),
  )
  return columns
}

function parseType(type: string, list: string): ColumnType {
  const known = COLUMN_TYPES.find(name => name === type)
  if (known === undefined)
    throw new UsageFailure(`--columns ${list}: no type ${type}; there are ${COLUMN_TYPES.join(', ')}`)
  return known
}

export function refuseRepeated(names: readonly string[], failure: (name: string) => Error): void {
  const repeated = names.find((name, index) => names.indexOf(name) !== index)
  if (repeated !== undefined) throw failure(repeated)
}

export function documentBuilder(columns: readonly Column[]): DocumentBuilder {
  const names = columns.map(column => column.name)
  const readers = columns.map(column => FIELD_READERS[column.type])
  return fields => {
    const document: Record<string, unknown> = {}
    for (let index = 0; index < names.length; index++) {
      const text = fields[index] as string
      if (text === '') continue
      const name = names[index] as string
      const read = readers[index] as FieldReader
      document[name] = read === asText ? text : read(text, name)
    }
    return document
  }
}

type FieldReader = (text: string, name: string) => unknown

const FIELD_READERS: Record<ColumnType, FieldReader> = {
  text: asText,
  number: asNumber,
  bigint: asBigint,
  boolean: asBoolean,
  date: asDate,
  json: asJson,
}

function asText(text: string): string {
  return text
}

export function asNumber(text: string, name: string): number {
  const number = Number(text)
  if (!Number.isFinite(number) || text.trim() === '') throw problem(name, text, 'a number')
  return number
}

function asBigint(text: string, name: string): bigint {
  if (!/^\s*-?\d+\s*$/.test(text)) throw problem(name, text, 'a whole number')
  return BigInt(text.trim())
}

function asBoolean(text: string, name: string): boolean {
  const word = text.trim().toLowerCase()
  if (['true', 'yes', 'y', 't', '1'].includes(word)) return true
  if (['false', 'no', 'n', 'f', '0'].includes(word)) return false
  throw problem(name, text, 'true or false')
}

const DATE_FORM = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?)?(Z|[+-]\d\d:?\d\d)?$/

/** Dates as `2016-05-03`, `2016-05-03 00:00` or ISO 8601, in UTC unless they name an offset. */
export function asDate(text: string, name: string): Date {
  const parts = DATE_FORM.exec(text.trim())
  if (parts === null) throw problem(name, text, 'a date such as 2016-05-03 or 2016-05-03 14:30')
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction = '', zone = 'Z'] = parts
  const offset = zone === 'Z' || zone.includes(':') ? zone : `${zone.slice(0, 3)}:${zone.slice(3)}`
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}${fraction.slice(0, 4)}${offset}`)
  const dayOfMonth = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate()
  if (Number.isNaN(date.getTime()) || dayOfMonth !== Number(day)) throw problem(name, text, 'a day that exists')
  return date
}

function asJson(text: string, name: string): unknown {
  try {
    return fromJson(text, name)
  } catch (error) {
    throw new FieldProblem(messageOf(error), { cause: error })
  }
}

export function problem(name: string, text: string, wanted: string): FieldProblem {
  const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text
  return new FieldProblem(`${name} is ${JSON.stringify(shown)}, expected ${wanted}`)
}
