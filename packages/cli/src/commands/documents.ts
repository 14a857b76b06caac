/** `hypha get`, `put` and `delete`: one document at a time. */
import { documentFrom } from '../arguments.js'
import { CodedFailure, messageOf, UsageFailure } from '../failure.js'
import { fromJson, toJson } from '../json-values.js'
import { existingCollection, withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import type { DocumentCommandOptions } from '../program.js'

/** A document handed over on stdin may have so many bytes. */
const STDIN_LIMIT_BYTES = 512 * 1024 * 1024

export async function getCommand(
  directory: string,
  name: string,
  idText: string,
  options: DocumentCommandOptions,
): Promise<void> {
  const ids = idsFrom(idText, options)
  const document = await withDatabase(directory, { create: false }, async database => {
    const collection = existingCollection(database, name)
    for (const id of ids) {
      const found = collection.get(id)
      if (found !== undefined) return found
    }
    throw notFound(name, idText)
  })
  await print(toJson(document, options.typed === true))
}

export async function putCommand(
  directory: string,
  name: string,
  text: string | undefined,
  options: { key?: string; json?: true },
): Promise<void> {
  const document = documentFrom(text === undefined || text === '-' ? await readStdin() : text)
  const id = await withDatabase(
    directory,
    {},
    async database =>
      await database.collection(name, options.key === undefined ? {} : { key: options.key }).put(document),
  )
  await print(options.json === true ? toJson({ id }) : shownId(id))
}

export async function deleteCommand(
  directory: string,
  name: string,
  idText: string,
  options: DocumentCommandOptions,
): Promise<void> {
  const ids = idsFrom(idText, options)
  await withDatabase(directory, { create: false }, async database => {
    const collection = existingCollection(database, name)
    const id = ids.find(candidate => collection.get(candidate) !== undefined)
    if (id === undefined) throw notFound(name, idText)
    if ((await collection.delete(id)) === false) throw notFound(name, idText)
  })
  await print(options.json === true ? JSON.stringify({ deleted: 1 }) : `deleted ${idText}`)
}

/** What the id may mean, the likeliest first. */
function idsFrom(text: string, options: DocumentCommandOptions): unknown[] {
  if (options.jsonId === true) {
    try {
      return [fromJson(text, 'the id')]
    } catch (error) {
      throw new UsageFailure(messageOf(error), { cause: error })
    }
  }
  const ids: unknown[] = [text]
  if (/^(-?\d|[{[]|true$|false$)/.test(text)) {
    try {
      ids.push(fromJson(text, 'the id'))
    } catch {
      // It is text then.
    }
  }
  return ids.filter(isKey)
}

/** A plain object can be no key. Text such as `{5BBE…}` is no JSON and never gets here. */
function isKey(id: unknown): boolean {
  return typeof id !== 'object' || id === null || Array.isArray(id) || Object.getPrototypeOf(id) !== Object.prototype
}

function notFound(collection: string, id: string): CodedFailure {
  return new CodedFailure('HYPHA_NOT_FOUND', `${collection} has no document with the id ${id}`)
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > STDIN_LIMIT_BYTES)
      throw new CodedFailure(
        'HYPHA_INVALID',
        'the document on stdin has over 512 MiB; use hypha import for many documents',
      )
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function shownId(id: unknown): string {
  return typeof id === 'string' ? id : toJson(id)
}

async function print(text: string): Promise<void> {
  const output = new Output(process.stdout)
  await output.line(text)
  await output.flush()
}
