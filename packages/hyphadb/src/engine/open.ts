/**
 * Opening and closing: who joins a live region, who builds one, who goes last.
 *
 * Byte 0 of `attach` is held throughout opening and closing, so these exclude each other.
 * ```
 *   some participant's byte is locked ──► the region named in `region` must be reachable and fit: join it
 *   none ──► what a dead region's log ring holds is saved to the log ─► recovery into a new region ─► `region` names it
 * ```
 * A region is used or removed only if it names this `attach` (device, inode), this database and this boot: never that of
 * a copied directory's original.
 */
import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { DEFAULT_PAGE_BYTES } from '../base/limits.js'
import { LogReader } from '../log/reader.js'
import { LogRing } from '../log/ring.js'
import { salvageRing } from '../log/salvage.js'
import * as L from '../memory/layout.js'
import { KIND_APPLICATION } from '../memory/participants.js'
import { Region, type RegionIdentity } from '../memory/region.js'
import { ByteLockFile, refuseRemoteFileSystem } from '../os/byte-locks.js'
import { type FileHandle, type FileSystem, readWholeFile, replaceWholeFile } from '../os/file-system.js'
import { bootId } from '../os/process.js'
import type { Superblock } from '../pages/superblock.js'
import { Core } from './core.js'
import { createDatabase, type DatabasePaths, pathsOf } from './creation.js'
import { HyphaEngine } from './engine.js'
import { anyoneElse, OPEN_BYTE, takeOpenByte } from './membership.js'
import { divideBudget, type InternalOptions, type ResolvedOptions, resolveOptions } from './options.js'
import { chooseSuperblock, readSuperblocks, type RecoveryReport, recover } from './recovery.js'

/**
 * Address space for the page directory. While it is open a database may grow to 2^22 pages (64 GiB at 16 KiB), or to eight
 * times the size that it had when the region was built; each opening provides anew.
 */
const PAGES_MIN = 1 << 22
const PAGES_MOST = 1 << 27
const GROWTH = 8

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
      throw new HyphaError('HYPHA_NOT_FOUND', `There is no database in ${paths.directory}. Check the path, or open it with create: true`)
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

export interface Opened {
  core: Core
  report: RecoveryReport | undefined
}

export function joinOrBuild(locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Opened {
  const name = readRegionName(paths, options)
  if (anyoneElse(locks)) return { core: join_(locks, paths, options, name), report: undefined }
  locks.selfTest()
  return build(locks, paths, options, name)
}

export function readRegionName(paths: DatabasePaths, options: ResolvedOptions): string | undefined {
  const text = readWholeFile(options.files, paths.region)?.toString('utf8').trim()
  if (text === undefined || !/^hyphadb-[0-9a-f]{16}-[0-9]+-[0-9a-f]{16}$/.test(text)) return undefined
  return join(options.sharedMemoryDirectory, text)
}

function fits(identity: RegionIdentity, locks: ByteLockFile): boolean {
  return (
    identity.attachDevice === locks.identity.device &&
    identity.attachInode === locks.identity.inode &&
    identity.bootId === bootId()
  )
}

export function join_(locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions, name: string | undefined): Core {
  const region = name === undefined ? undefined : Region.open(name)
  if (region === undefined || !fits(region.identity(), locks) || region.state === L.STATE_BUILDING) {
    throw new HyphaError(
      'HYPHA_REGION_UNREACHABLE',
      `Other processes have ${paths.directory} open, but their shared memory cannot be reached from here (another container?). Share ${options.sharedMemoryDirectory} with them, or close the database there`,
    )
  }
  if (options.pageSize !== undefined && options.pageSize !== region.geometry.pageSize) throw wrongPageSize(options, region.geometry.pageSize)
  const core = makeCore(region, locks, paths, options)
  core.checkAlive()
  core.participants.register(KIND_APPLICATION, slot => core.repairer.reap(slot))
  return core
}

function wrongPageSize(options: ResolvedOptions, pageSize: number): HyphaError {
  return new HyphaError(
    'HYPHA_INVALID',
    `The database has pages of ${pageSize} bytes, fixed when it was created; pageSize: ${options.pageSize} contradicts that. Leave the option out`,
  )
}

export function makeCore(region: Region, locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Core {
  return new Core({
    region,
    files: options.files,
    data: options.files.open(paths.data),
    logDirectory: paths.log,
    locks,
    busyTimeoutMs: options.busyTimeoutMs,
    keptVersionBytes: options.keptVersionBytes,
    nowMs: options.nowMs,
  })
}

export function build(locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions, oldName: string | undefined): Opened {
  const { files } = options
  if (!files.exists(paths.data)) createDatabase(files, paths, options.pageSize ?? DEFAULT_PAGE_BYTES, options.segmentBytes)
  const superblock = findSuperblock(paths, options)
  if (options.pageSize !== undefined && options.pageSize !== superblock.pageSize) throw wrongPageSize(options, superblock.pageSize)
  const old = oldName === undefined ? undefined : openOld(oldName)
  const generation = (old?.generation ?? 0) + 1
  if (old !== undefined && fits(old.identity(), locks)) {
    salvage(old, superblock, paths, options)
    faultPoint('open.salvaged')
    old.unlink()
    old.detach()
  }
  return buildRegion(locks, paths, options, superblock, generation)
}

/** Builds the region after one that is still mapped here, whose log ring goes to the log first. Byte 0 is held. */
export function buildNext(locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions, old: Region): Opened {
  const superblock = findSuperblock(paths, options)
  salvage(old, superblock, paths, options)
  faultPoint('generation.salvaged')
  const opened = buildRegion(locks, paths, options, superblock, old.generation + 1)
  old.unlink()
  return opened
}

function buildRegion(
  locks: ByteLockFile,
  paths: DatabasePaths,
  options: ResolvedOptions,
  superblock: Superblock,
  generation: number,
): Opened {
  const { files } = options
  faultPoint('open.building')
  const region = createRegion(locks, superblock, options, generation)
  try {
    const core = makeCore(region, locks, paths, options)
    core.participants.register(KIND_APPLICATION, () => {})
    const report = recover(core, superblock, options.segmentBytes)
    Atomics.store(region.control.i32, L.HEADER_STATE_I, L.STATE_LIVE)
    faultPoint('open.live')
    replaceWholeFile(files, paths.region, Buffer.from(`${region.name.slice(region.name.lastIndexOf('/') + 1)}\n`))
    faultPoint('open.named')
    return { core, report }
  } catch (error) {
    region.unlink()
    region.detach()
    throw error
  }
}

function openOld(name: string): Region | undefined {
  try {
    return Region.open(name)
  } catch (error) {
    // Half built when its builder died, or of another version: nothing in it is needed that the log does not have.
    if (isHyphaError(error)) return undefined
    throw error
  }
}

function findSuperblock(paths: DatabasePaths, options: ResolvedOptions): Superblock {
  const file: FileHandle = options.files.open(paths.data)
  try {
    const superblocks = readSuperblocks(file)
    const { databaseId } = superblocks.valid[0] as Superblock
    return chooseSuperblock(superblocks, { files: options.files, directory: paths.log, databaseId }, paths.data)
  } finally {
    file.close()
  }
}

/** Everybody died and the machine lives: commits that had not reached the files are in the ring. */
function salvage(old: Region, superblock: Superblock, paths: DatabasePaths, options: ResolvedOptions): void {
  if (Buffer.compare(old.identity().databaseId, superblock.databaseId) !== 0) return
  const { geometry, control } = old
  const ring = new LogRing(control, {
    wordsOffset: L.LOG_WORDS_OFFSET,
    ringOffset: geometry.logRingOffset,
    ringBytes: geometry.logRingBytes,
  })
  if (old.state === L.STATE_BUILDING) return
  const reader = new LogReader({
    files: options.files,
    directory: paths.log,
    databaseId: superblock.databaseId,
    from: superblock.redo,
  })
  while (reader.next());
  salvageRing({
    files: options.files,
    directory: paths.log,
    databaseId: superblock.databaseId,
    ring,
    logEnd: reader.nextPosition,
  })
}

function createRegion(locks: ByteLockFile, superblock: Superblock, options: ResolvedOptions, generation: number): Region {
  const { pageSize, databaseId } = superblock
  const budget = divideBudget(options, pageSize)
  const nonce = randomBytes(8)
  const short = Buffer.from(databaseId).subarray(0, 8).toString('hex')
  const name = join(options.sharedMemoryDirectory, `hyphadb-${short}-${generation}-${nonce.toString('hex')}`)
  const region = Region.create(name, {
    pageSize,
    framesMax: budget.framesMax,
    pagesMax: Math.min(PAGES_MOST, Math.max(PAGES_MIN, 2 ** Math.ceil(Math.log2(superblock.pageLimit * GROWTH)))),
    logRingBytes: budget.logRingBytes,
    versionRingBytes: budget.versionRingBytes,
    segmentBytes: options.segmentBytes,
    budget: budget.budget,
    generation,
    identity: {
      databaseId,
      nonce: Buffer.concat([nonce, nonce]),
      bootId: bootId(),
      attachDevice: locks.identity.device,
      attachInode: locks.identity.inode,
    },
  })
  region.growFrames()
  return region
}
