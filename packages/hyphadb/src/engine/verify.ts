/**
 * Verify: reads everything and believes nothing. Superblocks, map, every block that a page names, every tree and large
 * value, who owns each page and block, every record of the log.
 *
 * Trees are walked under the commit latch, one table at a time: writers wait for as long as one table takes.
 */
import type { BTree } from '../index/b-tree.js'
import { referencedLength } from '../index/overflow.js'
import { verifyLog } from '../log/verify.js'
import * as L from '../memory/layout.js'
import { PageMemory } from '../memory/page-memory.js'
import { BLOCK_DOOMED, BLOCK_FREE } from '../pages/allocator.js'
import { PAGE_FREED, PAGE_RESERVED } from '../pages/directory.js'
import { imageIsGood } from '../pages/page-image.js'
import { readSuperblocks } from '../pages/superblock.js'
import { CATALOG_ROOT, CATALOG_TABLE, ROOTS_ROOT, ROOTS_TABLE } from '../txn/trees.js'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'

export interface VerifyFault {
  readonly file: string
  readonly offset?: number
  readonly table?: number
  readonly page?: number
  readonly what: string
}

export interface VerifyReport {
  readonly faults: VerifyFault[]
  readonly pages: number
  readonly blocks: number
  readonly tables: number
  readonly rows: number
  readonly logRecords: number
  readonly logBytes: number
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))
/** While a page is read it may be written elsewhere and to the same block again. Damage stays. */
const READ_ATTEMPTS = 5
const BLOCKS_AT_ONCE = 256

/** No checkpoint is made meanwhile: it would give up the blocks and log segments that are being looked at. */
export async function verifyEngine(core: Core, paths: DatabasePaths): Promise<VerifyReport> {
  const { checkpoint } = core.latches
  const deadline = performance.now() + core.options.busyTimeoutMs
  while (!checkpoint.tryAcquire()) {
    const { owner } = checkpoint
    if (owner !== 0 && !checkpoint.recoverFromDeath(owner) && performance.now() > deadline) throw checkpoint.busy(owner)
    await pause(2)
  }
  try {
    return await verifyQuietly(core, paths)
  } finally {
    checkpoint.release()
  }
}

async function verifyQuietly(core: Core, paths: DatabasePaths): Promise<VerifyReport> {
  const faults: VerifyFault[] = []
  for (const { offset, what } of readSuperblocks(core.file.file).faults) faults.push({ file: paths.data, offset, what })
  await core.log.sync()
  const log = verifyLog({
    files: core.options.files,
    directory: paths.log,
    databaseId: core.region.identity().databaseId,
    from: core.region.control.f64[L.CHECKPOINT_DURABLE_REDO_F] as number,
    limit: core.ring.durable,
  })
  for (const fault of log.faults) faults.push({ file: fault.file, offset: fault.offset, what: fault.message })
  const { blocks, damaged } = await verifyBlocks(core)
  const trees = verifyTrees(core, paths, damaged, faults)
  return { faults, ...trees, blocks, logRecords: log.records, logBytes: log.bytes }
}

/** Every block that a page names: readable, whole, and of that page. */
async function verifyBlocks(core: Core): Promise<{ blocks: number; damaged: { page: number; offset: number }[] }> {
  const { region, pool, file } = core
  const image = new PageMemory(new ArrayBuffer(pool.pageSize))
  const damaged: { page: number; offset: number }[] = []
  let blocks = 0
  for (let page = 1; page < (region.control.i32[L.PAGE_LIMIT_I] as number); page++) {
    const block = Atomics.load(region.blockOf, page)
    if (block === 0) continue
    let good = false
    for (let attempt = 0; attempt < READ_ATTEMPTS && !good; attempt++) {
      good = file.read(block, image.u8) && imageIsGood(image, page, pool.pageSize)
      // Written anew or freed while it was read: the next image was checked when it was made.
      good ||= Atomics.load(region.blockOf, page) !== block
    }
    if (!good) damaged.push({ page, offset: block * pool.pageSize })
    if (++blocks % BLOCKS_AT_ONCE === 0) await turn()
  }
  return { blocks, damaged }
}

function verifyTrees(
  core: Core,
  paths: DatabasePaths,
  damaged: readonly { page: number; offset: number }[],
  faults: VerifyFault[],
): { pages: number; tables: number; rows: number } {
  const { commit } = core.latches
  const owned = new Map<number, number>()
  const before = faults.length
  let rows = 0
  const own = (page: number, table: number): void => {
    const other = owned.get(page)
    if (other !== undefined)
      faults.push({ file: paths.data, page, table, what: `page ${page} belongs to tables ${other} and ${table}` })
    owned.set(page, table)
  }
  commit.acquire(core.options.busyTimeoutMs)
  try {
    core.betweenCommits()
    const tables = [
      { tableId: CATALOG_TABLE, root: CATALOG_ROOT },
      { tableId: ROOTS_TABLE, root: ROOTS_ROOT },
      ...core.trees.allRoots(),
    ]
    for (const { tableId, root } of tables) rows += verifyTree(core, paths, tableId, root, faults, own)
    ownKeptValues(core, paths, faults, own)
    for (const { page, offset } of damaged) faults.push(damagedBlock(paths, page, offset, owned.get(page)))
    // Where a page cannot be read, nobody knows what it owned.
    verifyOwnership(core, paths, owned, faults.length === before, faults)
    return { pages: owned.size, tables: tables.length - 2, rows }
  } finally {
    commit.release()
  }
}

function damagedBlock(paths: DatabasePaths, page: number, offset: number, table: number | undefined): VerifyFault {
  const what = `the block of page ${page} is damaged`
  return { file: paths.data, offset, page, ...(table === undefined ? {} : { table }), what }
}

function verifyTree(
  core: Core,
  paths: DatabasePaths,
  tableId: number,
  root: number,
  faults: VerifyFault[],
  own: (page: number, table: number) => void,
): number {
  const fault = (page: number, what: string): void => {
    const offset = (core.region.blockOf[page] ?? 0) * core.pool.pageSize
    faults.push({ file: paths.data, table: tableId, page, ...(offset === 0 ? {} : { offset }), what })
  }
  let tree: BTree | undefined
  try {
    tree = core.trees.of(tableId)
  } catch (error) {
    own(root, tableId)
    fault(root, `the root cannot be read: ${(error as Error).message}`)
  }
  if (tree === undefined) return 0
  const values: Buffer[] = []
  const result = tree.check(
    ({ pageId, what }) => fault(pageId, what),
    reference => values.push(Buffer.from(reference)),
  )
  for (const page of result.pages) own(page, tableId)
  for (const reference of values) verifyValue(core, paths, tableId, reference, faults, own)
  return tableId > ROOTS_TABLE + 1 ? result.rows : 0
}

function verifyValue(
  core: Core,
  paths: DatabasePaths,
  table: number,
  reference: Buffer,
  faults: VerifyFault[],
  own: (page: number, table: number) => void,
): void {
  const pages: number[] = []
  try {
    core.overflow.pagesOf(reference, pages)
    const value = core.overflow.read(reference)
    if (value.length !== referencedLength(reference)) throw new Error('its length differs from the reference')
  } catch (error) {
    faults.push({ file: paths.data, table, what: `a large value cannot be read: ${(error as Error).message}` })
  }
  for (const page of pages) own(page, table)
}

/** Large values of old versions own their pages too. */
function ownKeptValues(
  core: Core,
  paths: DatabasePaths,
  faults: VerifyFault[],
  own: (page: number, table: number) => void,
): void {
  try {
    for (const { tableId, reference } of core.versions.references()) {
      // Whoever freed it died, or threw, before its row was gone: the row is nobody's loss.
      if (!core.overflow.stands(reference)) continue
      for (const page of core.overflow.pagesOf(reference)) own(page, tableId)
    }
  } catch (error) {
    faults.push({ file: paths.data, what: `old versions cannot be read: ${(error as Error).message}` })
  }
}

function verifyOwnership(
  core: Core,
  paths: DatabasePaths,
  owned: Map<number, number>,
  allAreKnown: boolean,
  faults: VerifyFault[],
): void {
  const { pageState, blockOf, blockState, control } = core.region
  const limit = control.i32[L.PAGE_LIMIT_I] as number
  const blocks = new Map<number, number>()
  for (let page = 1; page < limit; page++) {
    const state = pageState[page] as number
    const table = owned.get(page)
    const inUse = state > 0 && state < PAGE_FREED
    if (allAreKnown && inUse && table === undefined)
      faults.push({ file: paths.data, page, what: `page ${page} is in use and belongs to nothing` })
    if (!inUse && table !== undefined)
      faults.push({
        file: paths.data,
        page,
        table,
        what: `page ${page} of table ${table} counts as free (state ${state})`,
      })
    const block = blockOf[page] as number
    if (block === 0 || state >= PAGE_RESERVED) continue
    const other = blocks.get(block)
    if (other !== undefined)
      faults.push({
        file: paths.data,
        page,
        offset: block * core.pool.pageSize,
        what: `pages ${other} and ${page} name the same block`,
      })
    blocks.set(block, page)
    const kind = blockState[block] as number
    if (kind === BLOCK_FREE || kind >= BLOCK_DOOMED) {
      faults.push({
        file: paths.data,
        page,
        offset: block * core.pool.pageSize,
        what: `the block of page ${page} counts as free`,
      })
    }
  }
}
