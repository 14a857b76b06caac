/** What must be true of a database after whatever happened: compared with the model, row by row, in one snapshot. */

import { crc32Range } from 'hyphadb/internal/base/checksum.js'
import type { Database } from 'hyphadb/internal/documents/database.js'
import type { Reader } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { checkImports } from './imports.js'
import { readJournal } from './journal.js'
import type { Expectation, Subject } from './protocol.js'
import {
  markKey,
  ROW_HEADER_BYTES,
  readState,
  readTotal,
  rowKey,
  rowValue,
  share,
  type Tables,
  WriterModel,
} from './workload.js'

/** A database as a member of the crew has it open. */
export interface Opened {
  readonly engine: HyphaEngine
  readonly db: Database
  readonly tables: Tables
  readonly seed: number
  readonly journals: string
}

const PROBLEMS_MAX = 20
const END = Buffer.from([0xff])

/** The models of writers, kept between checks: they only go forward. */
const models = new Map<string, WriterModel>()

function modelOf(seed: number, writer: string, number: number): WriterModel {
  const name = `${seed}:${writer}`
  let model = models.get(name)
  if (model === undefined || model.number > number) {
    model = new WriterModel(seed, writer)
    models.set(name, model)
  }
  model.advanceTo(number)
  return model
}

/**
 * Everything that is wrong, at most a few lines of it. Others may be writing: what was acknowledged before the snapshot
 * must be in it, and nothing that was begun after it.
 */
export function checkEverything(member: Opened, subjects: readonly Subject[]): string[] {
  const before = subjects.map(({ kind, name }) => readJournal(member.journals, kind, name))
  const snapshot = member.engine.snapshot()
  const documents = member.db.snapshot()
  try {
    const problems = checkTotals(snapshot, member.tables)
    for (const { kind, name, acknowledged } of before) {
      const { started } = readJournal(member.journals, kind, name)
      if (kind === 'writer') problems.push(...checkWriter(snapshot, member, { kind, name, acknowledged, started }))
      else problems.push(...checkImports(documents, name, acknowledged, started))
    }
    return problems.slice(0, PROBLEMS_MAX)
  } finally {
    snapshot.close()
    documents.close()
  }
}

/** The total agrees with the writers' rows, and rows with marks: holds in every snapshot, whoever is writing. */
export function checkTotals(reader: Reader, tables: Tables): string[] {
  let sum = 0
  let rows = 0
  const cursor = reader.range(tables.writers, {})
  while (cursor.next()) {
    sum += cursor.buffer.readDoubleLE(cursor.valueStart)
    rows += cursor.buffer.readDoubleLE(cursor.valueStart + 8)
  }
  cursor.close()
  const problems: string[] = []
  const total = readTotal(reader, tables)
  if (total !== sum) problems.push(`the total is ${total}, the writers' numbers add up to ${sum}`)
  const countedRows = reader.count(tables.rows, {})
  if (countedRows !== rows) problems.push(`there are ${countedRows} rows, the writers say ${rows}`)
  const countedMarks = reader.count(tables.marks, {})
  if (countedMarks !== rows) problems.push(`there are ${countedMarks} marks, the writers say ${rows} rows`)
  return problems
}

function checkWriter(reader: Reader, { tables, seed }: Opened, expectation: Expectation): string[] {
  const { name: writer, acknowledged, started } = expectation
  const state = readState(reader, tables, writer)
  const problems: string[] = []
  if (state.number < acknowledged || state.number > started) {
    problems.push(
      `writer ${writer}: transaction ${state.number} is the last, ${acknowledged} was acknowledged and ${started} begun`,
    )
  }
  const model = modelOf(seed, writer, state.number)
  for (const [id, { number, length }] of model.rows) {
    const key = rowKey(writer, id)
    const value = reader.get(tables.rows, key)
    if (value === undefined || Buffer.compare(value, rowValue(id, number, length)) !== 0) {
      problems.push(
        `writer ${writer}: row ${id} should be of transaction ${number} (${length} bytes), is ${describe(value)}`,
      )
    }
    if (reader.get(tables.marks, markKey(id, number, key)) === undefined)
      problems.push(`writer ${writer}: row ${id} has no mark`)
  }
  return [...problems, ...checkOwnRows(reader, tables, writer)]
}

function describe(value: Buffer | undefined): string {
  if (value === undefined) return 'missing'
  return value.length < ROW_HEADER_BYTES
    ? 'cut off'
    : `of transaction ${value.readUInt32LE(0)} (${value.length - ROW_HEADER_BYTES} bytes)`
}

/** A writer's rows against its own row: what any snapshot must show, without knowledge of what was acknowledged. */
export function checkOwnRows(reader: Reader, tables: Tables, writer: string): string[] {
  const state = readState(reader, tables, writer)
  const problems: string[] = []
  let rows = 0
  let digest = 0
  const prefix = Buffer.from(`${writer}/`)
  const cursor = reader.range(tables.rows, {
    gte: prefix,
    lt: Buffer.concat([prefix, END]),
    reverse: state.number % 2 === 0,
  })
  while (cursor.next()) {
    const { buffer, valueStart, valueEnd } = cursor
    const number = buffer.readUInt32LE(valueStart)
    const id = buffer.readUInt32LE(valueStart + 4)
    const length = valueEnd - valueStart - ROW_HEADER_BYTES
    rows++
    digest = (digest + share(id, number, length)) >>> 0
    if (buffer.compare(rowValue(id, number, length), 0, valueEnd - valueStart, valueStart, valueEnd) !== 0) {
      problems.push(`writer ${writer}: row ${id} has wrong bytes`)
    }
  }
  cursor.close()
  if (rows !== state.rows || digest !== state.digest) {
    problems.push(
      `writer ${writer} at ${state.number}: ${rows} rows with digest ${digest}, its row says ${state.rows} and ${state.digest}`,
    )
  }
  return problems
}

/** A number that stands for every byte of every table in this snapshot. */
export function fingerprint(reader: Reader, tables: Tables): number {
  let sum = 0
  for (const table of [tables.rows, tables.marks, tables.writers, tables.totals]) {
    const cursor = reader.range(table, {})
    while (cursor.next()) {
      sum = Math.imul(sum, 31) + crc32Range(cursor.keyBuffer, 0, cursor.keyLength)
      sum = Math.imul(sum, 31) + crc32Range(cursor.buffer, cursor.valueStart, cursor.valueEnd)
    }
    cursor.close()
  }
  return sum >>> 0
}
