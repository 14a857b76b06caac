/** Opening a database directory. */
import { openEngine } from '../engine/open.js'
import type { OpenOptions } from '../engine/options.js'
import { type Database, openDatabase } from './database.js'

/**
 * Opens the database in a directory, creating it if it is missing. Any number of processes and worker threads may have it
 * open at the same time.
 *
 * @example
 * ```ts
 * const db = await open('./prices', { memory: '256MB' })
 * const sales = db.collection('sales', { indexes: { byTown: { on: ['town', 'price'] } } })
 * await sales.put({ id: 1, town: 'LEEDS', price: 42_000 })
 * await db.close()
 * ```
 * @throws HYPHA_NOT_FOUND with create: false; HYPHA_CORRUPT, HYPHA_VERSION, HYPHA_SHM_FULL, HYPHA_DISK_FULL,
 * HYPHA_REGION_UNREACHABLE, HYPHA_PERMISSION.
 */
export function open(directory: string, options: OpenOptions = {}): Promise<Database> {
  return openDatabase(
    () => openEngine(directory, options),
    options.durability === undefined ? {} : { durability: options.durability },
  )
}
