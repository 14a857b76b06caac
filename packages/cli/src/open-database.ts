/**
 * Opens a directory for one command and closes it at the end, whatever happens.
 */
import { open } from 'hyphadb'
import type { Collection, Database, OpenOptions } from './database.js'
import { CodedFailure } from './failure.js'

export async function withDatabase<T>(
  directory: string,
  options: OpenOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const database: Database = await open(directory, options)
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

/** A collection that is there already: a misspelt name should be an error, not a new collection. */
export function existingCollection(database: Database, name: string): Collection {
  const names = database.collections()
  if (names.includes(name)) return database.collection(name)
  const there = names.length === 0 ? 'there are none' : `there are ${names.join(', ')}`
  throw new CodedFailure('HYPHA_NOT_FOUND', `no collection ${name}; ${there}`)
}
