/**
 * Joining and building regions. The caller holds byte 0 of `attach`, so all of this excludes itself.
 *
 * ```
 *   some participant's byte is locked ──► the region named in `region` must be reachable and fit
 *        ├─ it lives ──► join it
 *        └─ it was given up ──► wait until nobody is inside a file write ──► the next generation, see below
 *   none ──► what a dead region's log ring holds is saved to the log ─► recovery into a new region ─► `region` names it
 * ```
 * A region is used or removed only if it names this `attach` (device, inode) and this boot: never that of a copied
 * directory's original. A builder's own death leaves no trace: `region` names the old region until the new one is complete.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { HyphaError, isHyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { DEFAULT_PAGE_BYTES } from '../base/limits.js'
import { LogReader } from '../log/reader.js'
import { LogRing } from '../log/ring.js'
import { salvageRing } from '../log/salvage.js'
import { RegionReplaced } from '../memory/generation.js'
import * as L from '../memory/layout.js'
import { byteOfSlot, KIND_APPLICATION, SLOT_PID, SLOT_WRITES, slotWord } from '../memory/participants.js'
import { Region, type RegionIdentity } from '../memory/region.js'
import type { ByteLockFile } from '../os/byte-locks.js'
import { type FileHandle, readWholeFile, replaceWholeFile } from '../os/file-system.js'
import { bootId } from '../os/process.js'
import type { Superblock } from '../pages/superblock.js'
import { Core } from './core.js'
import { createDatabase, type DatabasePaths } from './creation.js'
import { anyoneElse } from './membership.js'
import { divideBudget, type ResolvedOptions } from './options.js'
import { chooseSuperblock, type RecoveryReport, readSuperblocks, recover } from './recovery.js'

/**
 * Address space for the page directory. While it is open a database may grow to 2^22 pages (64 GiB at 16 KiB), or to eight
 * times the size that it had when the region was built; each opening provides anew.
 */
const PAGES_MIN = 1 << 22
const PAGES_MOST = 1 << 27
const GROWTH = 8
/** Changes of the catalog within one generation that have versions of their own. */
const CATALOG_CHANGES_BITS = 16

export interface Opened {
  core: Core
  report: RecoveryReport | undefined
}

/** `ours`: the region that this thread has been in and that was given up. */
export function joinOrBuild(
  locks: ByteLockFile,
  paths: DatabasePaths,
  options: ResolvedOptions,
  ours?: Region,
): Opened {
  const name = readRegionName(paths, options)
  // It is still the one that everybody was in; its names may have vanished, but here it is mapped.
  if (ours !== undefined && ours.name === name) return buildNext(locks, paths, options, ours)
  if (!anyoneElse(locks)) {
    locks.selfTest()
    return build(locks, paths, options, name)
  }
  const region = reachable(locks, paths, options, name)
  if (region.state === L.STATE_DEAD) return buildNext(locks, paths, options, region)
  try {
    return { core: joinRegion(region, locks, paths, options), report: undefined }
  } catch (error) {
    // What a dead one left could not be mended on the way in.
    if (!(error instanceof RegionReplaced)) throw error
    return buildNext(locks, paths, options, region)
  }
}

function readRegionName(paths: DatabasePaths, options: ResolvedOptions): string | undefined {
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

function reachable(
  locks: ByteLockFile,
  paths: DatabasePaths,
  options: ResolvedOptions,
  name: string | undefined,
): Region {
  const region = name === undefined ? undefined : Region.open(name)
  if (region !== undefined && fits(region.identity(), locks) && region.state !== L.STATE_BUILDING) return region
  throw new HyphaError(
    'HYPHA_REGION_UNREACHABLE',
    `Other processes have ${paths.directory} open, but their shared memory cannot be reached from here (another container?). Share ${options.sharedMemoryDirectory} with them, or close the database there`,
  )
}

function joinRegion(region: Region, locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Core {
  if (options.pageSize !== undefined && options.pageSize !== region.geometry.pageSize)
    throw wrongPageSize(options, region.geometry.pageSize)
  const core = makeCore(region, locks, paths, options)
  core.participants.register(KIND_APPLICATION, slot => core.repairer.reap(slot))
  return core
}

function wrongPageSize(options: ResolvedOptions, pageSize: number): HyphaError {
  return new HyphaError(
    'HYPHA_INVALID',
    `The database has pages of ${pageSize} bytes, fixed when it was created; pageSize: ${options.pageSize} contradicts that. Leave the option out`,
  )
}

function makeCore(region: Region, locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions): Core {
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

function build(
  locks: ByteLockFile,
  paths: DatabasePaths,
  options: ResolvedOptions,
  oldName: string | undefined,
): Opened {
  const { files } = options
  if (!files.exists(paths.data))
    createDatabase(files, paths, options.pageSize ?? DEFAULT_PAGE_BYTES, options.segmentBytes)
  const superblock = findSuperblock(paths, options)
  if (options.pageSize !== undefined && options.pageSize !== superblock.pageSize)
    throw wrongPageSize(options, superblock.pageSize)
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

/**
 * Builds the region after one that was given up; its log ring goes to the log first. It is as large as the old one was,
 * whoever builds it. Before it has its name, the old one says where it begins: that decides about commits that had passed
 * their commit point there.
 */
function buildNext(locks: ByteLockFile, paths: DatabasePaths, options: ResolvedOptions, old: Region): Opened {
  Atomics.store(old.control.i32, L.HEADER_STATE_I, L.STATE_DEAD)
  waitForWriters(old, locks, options.busyTimeoutMs)
  faultPoint('generation.quiet')
  const superblock = findSuperblock(paths, options)
  salvage(old, superblock, paths, options)
  faultPoint('generation.salvaged')
  const opened = buildRegion(locks, paths, sizedAs(old, options), superblock, old.generation + 1, old)
  old.unlink()
  return opened
}

function sizedAs({ control, geometry }: Region, options: ResolvedOptions): ResolvedOptions {
  const { framesMax, logRingBytes, versionRingBytes } = geometry
  return {
    ...options,
    memory: control.f64[L.HEADER_BUDGET_F] as number,
    memoryWasGiven: false, // the old one still fills its share: less is better than none
    frames: framesMax,
    logRingBytes,
    versionRingBytes,
    segmentBytes: control.f64[L.HEADER_SEGMENT_BYTES_F] as number,
  }
}

const sleepWord = new Int32Array(new SharedArrayBuffer(4))

/** Until no living participant is inside a write to a file; see memory/generation.ts. */
function waitForWriters(old: Region, locks: ByteLockFile, timeoutMs: number): void {
  const { i32 } = old.control
  const deadline = performance.now() + timeoutMs
  for (let slot = 0; slot < L.PARTICIPANTS_MAX; slot++) {
    const word = slotWord(slot)
    while (Atomics.load(i32, word + SLOT_WRITES) > 0 && locks.isLockedByOther(byteOfSlot(slot))) {
      if (performance.now() > deadline) {
        throw new HyphaError(
          'HYPHA_BUSY',
          `Process ${i32[word + SLOT_PID]} stands in the middle of a write to a file (stopped?) and the shared region must be replaced. Continue or end it, then try again`,
        )
      }
      Atomics.wait(sleepWord, 0, 0, 1)
    }
  }
}

function buildRegion(
  locks: ByteLockFile,
  paths: DatabasePaths,
  options: ResolvedOptions,
  superblock: Superblock,
  generation: number,
  old?: Region,
): Opened {
  const { files } = options
  faultPoint('open.building')
  removeLeftBehind(locks, superblock, options, old)
  const region = createRegion(locks, superblock, options, generation)
  try {
    const core = makeCore(region, locks, paths, options)
    core.participants.register(KIND_APPLICATION, () => {})
    const report = recover(core, superblock, options.segmentBytes)
    // No version is met twice in the life of a process: what is cached under one of an earlier generation is stale.
    region.control.i32[L.CATALOG_VERSION_I] = generation << CATALOG_CHANGES_BITS
    if (old !== undefined) old.control.f64[L.HEADER_SUCCEEDED_AT_F] = report.logEnd
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

/**
 * Regions of this very directory that nobody can join: their builders died before `region` named them, or before they
 * had removed the one that it named before. `old` is still needed, should this builder die too.
 */
function removeLeftBehind(
  locks: ByteLockFile,
  superblock: Superblock,
  options: ResolvedOptions,
  old: Region | undefined,
): void {
  for (const name of Region.namesIn(options.sharedMemoryDirectory, namePrefix(superblock.databaseId))) {
    if (name === old?.name) continue
    const region = openOld(name)
    if (region === undefined) continue
    if (fits(region.identity(), locks)) region.unlink()
    region.detach()
  }
}

function namePrefix(databaseId: Uint8Array): string {
  return `hyphadb-${Buffer.from(databaseId).subarray(0, 8).toString('hex')}-`
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

function createRegion(
  locks: ByteLockFile,
  superblock: Superblock,
  options: ResolvedOptions,
  generation: number,
): Region {
  const { pageSize, databaseId } = superblock
  const budget = divideBudget(options, pageSize)
  const nonce = randomBytes(8)
  const name = join(options.sharedMemoryDirectory, `${namePrefix(databaseId)}${generation}-${nonce.toString('hex')}`)
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
