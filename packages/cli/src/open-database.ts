/**
 * Opens a directory for one command and closes it at the end, whatever happens.
 */
import { open } from 'hyphadb'
import type { Collection, Database, OpenOptions } from './database.js'

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
  return database.collection(name)
}
