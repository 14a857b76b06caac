/** What a database takes on disk, from outside. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface DiskFigures {
  dataBytes: number
  logBytes: number
}

export function diskFigures(directory: string): DiskFigures {
  let logBytes = 0
  for (const name of readdirSync(join(directory, 'log'))) {
    try {
      logBytes += statSync(join(directory, 'log', name)).size
    } catch (error) {
      // A segment that was recycled between the listing and the look at it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return { dataBytes: statSync(join(directory, 'data')).size, logBytes }
}
