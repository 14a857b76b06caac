import { dirname } from 'node:path'
import { HyphaError, isHyphaError } from '../base/errors.js'
import { ByteLockFile, refuseRemoteFileSystem } from '../os/byte-locks.js'
import type { FileSystem } from '../os/file-system.js'
import { type DatabasePaths, pathsOf } from './creation.js'
import { HyphaEngine } from './engine.js'
import { OPEN_BYTE, takeOpenByte } from './membership.js'
import { type InternalOptions, type ResolvedOptions, resolveOptions } from './options.js'
import { joinOrBuild } from './region-building.js'

/** Opens the database in `directory`. */
export async function openEngine(directory: string, options: InternalOptions = {}): Promise<HyphaEngine> {
  const resolved = resolveOptions(options)
  const paths = pathsOf(directory)
  prepareDirectory(paths, resolved)
  const locks = new ByteLockFile(paths.attach)
  try {
    await takeOpenByte(locks, resolved.busyTimeoutMs)
    try {
      const opened = joinOrBuild(locks, paths, resolved)
      return new HyphaEngine(opened.core, locks, paths, resolved, opened.report)
    } finally {
      locks.unlock(OPEN_BYTE)
    }
  } catch (error) {
    locks.close()
    throw error
  }
}

function prepareDirectory(paths: DatabasePaths, options: ResolvedOptions): void {
  const { files } = options
  if (!files.exists(paths.directory) || !(files.exists(paths.data) || files.exists(paths.log))) {
    if (!options.create || options.readOnly) {
      throw new HyphaError(
        'HYPHA_NOT_FOUND',
        `There is no database in ${paths.directory}. Check the path, or open it with create: true`,
      )
    }
    makeDurableDirectory(files, paths.directory)
  }
  refuseRemoteFileSystem(paths.directory)
}

/**
 * Makes the directory and its missing parents so that no power loss takes their names away with all that is put into
 * them. Its own name is synced even if it is there: whoever made it may have died before.
 */
function makeDurableDirectory(files: FileSystem, directory: string): void {
  const above = [dirname(directory)]
  for (let path = above[0] as string; !files.exists(path); path = dirname(path)) above.push(dirname(path))
  files.makeDirectory(directory)
  for (const path of above) {
    try {
      files.syncDirectory(path)
    } catch (error) {
      // A directory that may be passed and not be listed cannot be synced either.
      if (!isHyphaError(error, 'HYPHA_PERMISSION')) throw error
    }
  }
}
