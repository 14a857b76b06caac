/** `hypha find` and `hypha count`: queries against the newest state. */
import { fieldsFrom, filterFrom, sortFrom } from '../arguments.js'
import type { FindOptions } from '../database.js'
import { toJson } from '../json-values.js'
import { existingCollection, withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import type { FindCommandOptions } from '../program.js'

export async function findCommand(
  directory: string,
  name: string,
  filterText: string | undefined,
  options: FindCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const filter = filterFrom(filterText)
  const query = findOptionsFrom(options)
  const output = new Output(process.stdout)
  await withDatabase(directory, { create: false }, async database => {
    const collection = existingCollection(database, name)
    if (options.explain === true) {
      await output.line(toJson(collection.explain(filter, query), false, options.json === true ? undefined : 2))
      return
    }
    for (const document of collection.find(filter, query)) {
      const wait = output.line(toJson(document, options.typed === true))
      if (wait !== undefined) await wait
      signal.throwIfAborted()
    }
  })
  await output.flush()
}

function findOptionsFrom(options: FindCommandOptions): FindOptions {
  const query: FindOptions = {}
  if (options.sort !== undefined) query.sort = sortFrom(options.sort)
  if (options.limit !== undefined) query.limit = options.limit
  if (options.fields !== undefined) query.fields = fieldsFrom('--fields', options.fields)
  return query
}

export async function countCommand(
  directory: string,
  name: string,
  filterText: string | undefined,
  options: { json?: true },
): Promise<void> {
  const filter = filterFrom(filterText)
  const count = await withDatabase(directory, { create: false }, async database =>
    existingCollection(database, name).count(filter),
  )
  const output = new Output(process.stdout)
  await output.line(options.json === true ? JSON.stringify({ count }) : String(count))
  await output.flush()
}
