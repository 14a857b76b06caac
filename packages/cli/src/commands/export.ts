/** `hypha export`: a collection as it is at one moment. */
import { createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { finished } from 'node:stream/promises'
import { fieldsFrom, filterFrom } from '../arguments.js'
import type { CollectionReader, Document, Filter, FindOptions } from '../database.js'
import { csvLine } from '../export/csv-writer.js'
import { CodedFailure, codeOf, fileFailure, OutputClosed } from '../failure.js'
import { toJson } from '../json-values.js'
import { existingCollection, withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import type { ExportCommandOptions } from '../program.js'
import { grouped } from '../progress.js'

interface ExportPlan {
  readonly format: 'csv' | 'jsonl'
  readonly filter: Filter
  readonly fields: string[] | undefined
  readonly typed: boolean
  readonly signal: AbortSignal
}

export async function exportCommand(
  directory: string,
  name: string,
  file: string | undefined,
  options: ExportCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const target = file === '-' ? undefined : file
  const plan: ExportPlan = {
    format: options.format ?? (target !== undefined && /\.csv$/i.test(target) ? 'csv' : 'jsonl'),
    filter: filterFrom(options.filter),
    fields: options.fields === undefined ? undefined : fieldsFrom('--fields', options.fields),
    typed: options.typed === true,
    signal,
  }
  const stdout = new Output(process.stdout)
  await withDatabase(directory, { create: false }, async database => {
    existingCollection(database, name)
    const snapshot = database.snapshot()
    try {
      const collection = snapshot.collection(name)
      if (target === undefined) {
        await writeDocuments(collection, plan, stdout)
        return
      }
      const records = await writeFile(target, output => writeDocuments(collection, plan, output))
      await stdout.line(
        options.json === true ? JSON.stringify({ records }) : `${grouped(records)} records in ${target}`,
      )
    } finally {
      snapshot.close()
    }
  })
  await stdout.flush()
}

async function writeDocuments(collection: CollectionReader, plan: ExportPlan, output: Output): Promise<number> {
  const columns = plan.format === 'csv' ? (plan.fields ?? allFields(collection, plan)) : []
  if (plan.format === 'csv') await output.line(csvLine(columns))
  let records = 0
  for (const document of matching(collection, plan)) {
    const line =
      plan.format === 'csv' ? csvLine(columns.map(column => fieldAt(document, column))) : toJson(document, plan.typed)
    const wait = output.line(line)
    if (wait !== undefined) await wait
    records++
  }
  await output.flush()
  return records
}

function* matching(collection: CollectionReader, plan: ExportPlan): Generator<Document, void, void> {
  const query: FindOptions = plan.fields === undefined ? {} : { fields: plan.fields }
  for (const document of collection.find(plan.filter, query)) {
    plan.signal.throwIfAborted()
    yield document
  }
}

/** The fields that occur, in the order of their first appearance. */
function allFields(collection: CollectionReader, plan: ExportPlan): string[] {
  const fields = new Set<string>()
  for (const document of matching(collection, plan)) for (const field of Object.keys(document)) fields.add(field)
  return [...fields]
}

/** `a.b` reaches into nested documents, as in a filter. */
function fieldAt(document: Document, path: string): unknown {
  if (Object.hasOwn(document, path)) return document[path]
  let value: unknown = document
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

/** The file gets its name when everything is in it and on disk. */
async function writeFile(path: string, write: (output: Output) => Promise<number>): Promise<number> {
  const partial = `${path}.partial-${process.pid}`
  try {
    const stream = createWriteStream(partial, { flags: 'wx' })
    const output = new Output(stream)
    const records = await write(output)
    stream.end()
    await finished(stream)
    const file = await open(partial, 'r')
    await file.sync().finally(() => file.close())
    await rename(partial, path)
    return records
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined)
    const isSystem =
      !(error instanceof CodedFailure) && !(error instanceof OutputClosed) && /^E[A-Z]+$/.test(codeOf(error))
    throw isSystem ? fileFailure(error, path, 'write') : error
  }
}
