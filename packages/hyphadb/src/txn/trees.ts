/**
 * From table ids to trees. Root pages are physical and so not in the log: a system table maps table id to root page, and
 * the committer adds to it when a table is written for the first time.
 *
 * Thread safety: `of` by anybody; `forWriting` and `forget` by the holder of the commit latch.
 * Invariants
 * 1. A row of the roots table whose page is reserved names a page that its writer died before making; whoever rolls the
 *    commit forward makes it.
 * 2. A row whose page is free, or belongs to another table by now, is what a death in `remove` left: it counts for nothing,
 *    and whoever writes next replaces it.
 * 3. The roots table has no history: it is read at the newest state only, and a row that goes leaves no ghost, since a
 *    table of versions can go and come back within one commit.
 */
import { BTree } from '../index/b-tree.js'
import { PAGE_FREED, PAGE_RESERVED } from '../pages/directory.js'
import { PAGE_TABLE, type VersionStore } from '../pages/page-access.js'
import type { PageChanges } from '../pages/page-changes.js'
import type { BufferPool } from '../pages/pool.js'
import { noVersions } from './no-versions.js'

export const CATALOG_TABLE = 1
export const ROOTS_TABLE = 2
/** Versions that left the ring while a snapshot needs them. Never outlives a region. */
export const KEPT_VERSIONS_TABLE = 3
export const FIRST_USER_TABLE = 16

export const CATALOG_ROOT = 1
export const ROOTS_ROOT = 2

const NEWEST = Number.MAX_SAFE_INTEGER
const ROOT_KEY_BYTES = 4

export class Trees {
  /** Told about leaves that hold ghosts: (table, page, a key of the leaf). Called inside a mini-transaction. */
  onGhost: (tableId: number, pageId: number, key: Uint8Array) => void = () => {}
  readonly #trees = new Map<number, BTree>()
  readonly #roots: BTree
  readonly #key = Buffer.alloc(ROOT_KEY_BYTES)

  constructor(
    readonly pool: BufferPool,
    readonly changes: PageChanges,
    readonly versions: VersionStore,
  ) {
    this.#roots = new BTree(pool, changes, noVersions, ROOTS_TABLE, ROOTS_ROOT)
    this.#trees.set(ROOTS_TABLE, this.#roots)
    this.#trees.set(CATALOG_TABLE, new BTree(pool, changes, versions, CATALOG_TABLE, CATALOG_ROOT))
  }

  /** For the builder of a new database: the two system trees at their fixed pages. */
  createSystemTrees(): void {
    for (const [table, root] of [
      [CATALOG_TABLE, CATALOG_ROOT],
      [ROOTS_TABLE, ROOTS_ROOT],
    ] as const) {
      this.changes.begin()
      this.changes.offer(root)
      BTree.create(this.changes, table)
      this.changes.end()
    }
  }

  /** The tree of a table, or undefined while nothing was ever written to it. */
  of(tableId: number): BTree | undefined {
    const known = this.#trees.get(tableId)
    if (known !== undefined && tableId !== KEPT_VERSIONS_TABLE) return known
    const root = this.#rootOf(tableId)
    // Kept versions come and go under one table id, by other threads too.
    if (root === 0 || !this.#isRoot(root, tableId)) return undefined
    return known?.rootPageId === root ? known : this.#add(tableId, root)
  }

  #add(tableId: number, root: number): BTree {
    const versions = tableId === KEPT_VERSIONS_TABLE ? noVersions : this.versions
    const tree = new BTree(this.pool, this.changes, versions, tableId, root)
    if (tableId !== KEPT_VERSIONS_TABLE) tree.onGhost = (table, page, key) => this.onGhost(table, page, key)
    this.#trees.set(tableId, tree)
    return tree
  }

  #rootOf(tableId: number): number {
    this.#key.writeUInt32BE(tableId, 0)
    if (!this.#roots.lookup(this.#key, ROOT_KEY_BYTES, NEWEST)) return 0
    return this.#roots.buffer.readInt32LE(this.#roots.valueStart)
  }

  #isRoot(page: number, tableId: number): boolean {
    const { pool } = this
    const { frameOf, blockOf, pageState } = pool.region
    pool.region.followDirectory()
    const state = pageState[page] as number
    if (state === 0 || state >= PAGE_FREED || (frameOf[page] === 0 && blockOf[page] === 0)) return false
    for (;;) {
      pool.fix(page)
      const { memory, base, version } = pool
      const table = memory.i32[(base + PAGE_TABLE) >> 2] as number
      if (pool.valid(memory, base, version)) return table === tableId
    }
  }

  /** The same, made if it is missing, as part of the commit with this sequence. */
  forWriting(tableId: number, sequence: number): BTree {
    const tree = this.of(tableId)
    if (tree !== undefined) return tree
    let root = this.#rootOf(tableId)
    if (root !== 0 && (this.pool.region.pageState[root] as number) < PAGE_RESERVED) {
      this.#deleteRoot(tableId)
      root = 0
    }
    if (root === 0) {
      root = this.changes.takeReserved()
      const value = Buffer.alloc(4)
      value.writeInt32LE(root, 0)
      this.#key.writeUInt32BE(tableId, 0)
      this.#roots.put(this.#key, ROOT_KEY_BYTES, value, 0, 4, 0, sequence)
    }
    this.changes.begin()
    this.changes.offer(root)
    BTree.create(this.changes, tableId)
    this.changes.end()
    return this.#add(tableId, root)
  }

  /** All table ids that have a root, with the root page. */
  allRoots(): { tableId: number; root: number }[] {
    const found: { tableId: number; root: number }[] = []
    const cursor = this.#roots.cursor({}, NEWEST)
    while (cursor.next()) {
      found.push({ tableId: cursor.keyBuffer.readUInt32BE(0), root: cursor.buffer.readInt32LE(cursor.valueStart) })
    }
    cursor.close()
    return found
  }

  /** Frees a table's pages. Each call does a part; true when nothing is left. Commit latch. */
  remove(tableId: number, pagesMax: number, onOverflow: (reference: Buffer) => void): boolean {
    const tree = this.of(tableId)
    if (tree !== undefined && !tree.freeAll(pagesMax, onOverflow)) return false
    this.#deleteRoot(tableId)
    this.#trees.delete(tableId)
    return true
  }

  #deleteRoot(tableId: number): void {
    this.#key.writeUInt32BE(tableId, 0)
    this.#roots.delete(this.#key, ROOT_KEY_BYTES, NEWEST)
    this.#roots.purge(this.#key, ROOT_KEY_BYTES)
  }

  forget(tableId: number): void {
    if (tableId > ROOTS_TABLE) this.#trees.delete(tableId)
  }

  all(): Iterable<BTree> {
    return this.#trees.values()
  }
}
