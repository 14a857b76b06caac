/**
 * Creating a database: an empty data file with its first checkpoint, and an empty log. Everything that comes later is
 * recovery, which this makes possible.
 *
 * Order: log with an empty run, `data.new` with superblock and two empty system trees, synced, then renamed to `data`. A
 * crash before the rename leaves no `data`, and the next opener begins anew.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { HyphaError } from '../base/errors.js'
import { startNode } from '../index/node-image.js'
import { beginRun } from '../log/run.js'
import { PageMemory } from '../memory/page-memory.js'
import type { FileHandle, FileSystem } from '../os/file-system.js'
import { BlockFile } from '../pages/block-file.js'
import {
  KIND_LEAF,
  KIND_MAP,
  KIND_MAP_DIRECTORY,
  PAGE_HEADER_BYTES,
  PAGE_ID,
  PAGE_KIND,
  PAGE_TABLE,
} from '../pages/page-access.js'
import { prepareForDisk } from '../pages/page-image.js'
import { writeSuperblock } from '../pages/superblock.js'
import { CATALOG_ROOT, CATALOG_TABLE, ROOTS_ROOT, ROOTS_TABLE } from '../txn/trees.js'

const NOTHING = Buffer.alloc(0)

export interface DatabasePaths {
  directory: string
  data: string
  log: string
  attach: string
  region: string
}

export function pathsOf(directory: string): DatabasePaths {
  return {
    directory,
    data: join(directory, 'data'),
    log: join(directory, 'log'),
    attach: join(directory, 'attach'),
    region: join(directory, 'region'),
  }
}

/** Makes the files of an empty database. The caller holds byte 0, and `data` does not exist. */
export function createDatabase(files: FileSystem, paths: DatabasePaths, pageSize: number, segmentBytes: number): void {
  const unfinished = `${paths.data}.new`
  clearUnfinished(files, paths, unfinished)
  files.makeDirectory(paths.log)
  const databaseId = randomBytes(16)
  const file = files.open(unfinished, { create: 'exclusive' })
  try {
    files.syncDirectory(paths.directory)
    beginRun({ files, directory: paths.log, databaseId, base: 0, durableBefore: 0, segmentBytes })
    writeFirstCheckpoint(file, pageSize, databaseId, segmentBytes)
    file.sync()
  } finally {
    file.close()
  }
  files.rename(unfinished, paths.data)
  files.syncDirectory(paths.directory)
}

function clearUnfinished(files: FileSystem, paths: DatabasePaths, unfinished: string): void {
  const begun = files.exists(unfinished)
  const logNames = files.exists(paths.log) ? files.list(paths.log) : []
  if (!begun && logNames.some(name => name.endsWith('.segment'))) {
    throw new HyphaError(
      'HYPHA_CORRUPT',
      `${paths.data} is missing and ${paths.log} holds a log: the data file was removed. Restore it, or the whole directory, from a backup`,
    )
  }
  for (const name of logNames) files.unlink(join(paths.log, name))
  files.unlink(unfinished)
}

function writeFirstCheckpoint(file: FileHandle, pageSize: number, databaseId: Uint8Array, segmentBytes: number): void {
  const blocks = new BlockFile(file, pageSize)
  const first = blocks.firstBlock
  const [catalog, roots, chunk, directory] = [first, first + 1, first + 2, first + 3] as const
  const blockLimit = first + 4
  file.allocate(0, blockLimit * pageSize)
  writeRoot(blocks, catalog, CATALOG_ROOT, CATALOG_TABLE)
  writeRoot(blocks, roots, ROOTS_ROOT, ROOTS_TABLE)
  writeMapPage(blocks, chunk, KIND_MAP, [0, catalog, roots])
  writeMapPage(blocks, directory, KIND_MAP_DIRECTORY, [chunk])
  writeSuperblock(file, {
    databaseId,
    pageSize,
    epoch: 1,
    position: 0,
    redo: 0,
    sequence: 0,
    clock: 0,
    pageLimit: ROOTS_ROOT + 1,
    blockLimit,
    segmentBytes,
    directory: [directory],
  })
}

function writeRoot(blocks: BlockFile, block: number, page: number, table: number): void {
  const image = new PageMemory(new ArrayBuffer(blocks.blockBytes))
  image.i32[PAGE_ID >> 2] = page
  image.u8[PAGE_KIND] = KIND_LEAF
  image.i32[PAGE_TABLE >> 2] = table
  startNode(image, 0, blocks.blockBytes, NOTHING, NOTHING, NOTHING, 0)
  prepareForDisk(image, blocks.blockBytes)
  blocks.write(block, image.u8)
}

function writeMapPage(blocks: BlockFile, block: number, kind: number, entries: number[]): void {
  const image = new PageMemory(new ArrayBuffer(blocks.blockBytes))
  image.i32[PAGE_ID >> 2] = 1
  image.u8[PAGE_KIND] = kind
  entries.forEach((entry, n) => {
    image.i32[(PAGE_HEADER_BYTES >> 2) + n] = entry
  })
  prepareForDisk(image, blocks.blockBytes)
  blocks.write(block, image.u8)
}
