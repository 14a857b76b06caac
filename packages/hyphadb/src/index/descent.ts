/**
 * Going down a tree: from the root, whose page id never changes, to a leaf.
 *
 * A step is coupled. The child's id is validated in the parent before it is used (it may drive a read from disk); then the
 * child is fixed; then the parent is validated once more, which proves that at that moment the child still was what the
 * parent said. The child's version is older than that proof, so whatever is read from the child under that version
 * belongs to a tree in which the parent's route was right. A split or merge releases the parent before the page that
 * gave keys away, so an old parent never leads to a robbed child unnoticed.
 *
 * A descent keeps the reader's registers (memory, base, version) at the last page it fixed.
 */
import type { PageMemory } from '../memory/page-memory.js'
import { PAGE_ID, PAGE_KIND, PAGE_TABLE, type PageId, type PageReader } from '../pages/page-access.js'
import { LEAF_SHAPE, MAX_DEPTH, shapeOfLevel } from './node-layout.js'
import { childOf, SEEK_AT, searchChild } from './node-search.js'
import { corruptNode } from './tree-errors.js'

export class Descent {
  /** The path of the last `pathTo`: page ids from the root (0) to the leaf (`depth`), and the child position taken in each. */
  readonly pathPage = new Int32Array(MAX_DEPTH)
  readonly pathChild = new Int32Array(MAX_DEPTH)
  depth = 0

  constructor(
    readonly pages: PageReader,
    readonly tableId: number,
    readonly rootPageId: PageId,
  ) {}

  /** Leaves the reader's registers at the leaf for the key; `seek` as in searchChild. */
  findLeaf(key: Uint8Array, keyLength: number, seek: number): void {
    while (!this.tryFindLeaf(key, keyLength, seek));
  }

  private tryFindLeaf(key: Uint8Array, keyLength: number, seek: number): boolean {
    const pages = this.pages
    const pageSize = pages.pageSize
    pages.fix(this.rootPageId)
    let memory = pages.memory
    let base = pages.base
    let version = pages.version
    let shape = memory.u16[(base + PAGE_KIND) >> 1]!
    let pageId: number = this.rootPageId
    while (shape !== LEAF_SHAPE) {
      const position = searchChild(memory, base, pageSize, key, keyLength, seek)
      const child = position < 0 ? 0 : childOf(memory, base, pageSize, position)
      if (!pages.valid(memory, base, version)) return false
      if (child <= 0 || shape >> 8 === 0) throw corruptNode(this.tableId, pageId, 'it leads nowhere')
      if (!this.fixChild(child, memory, base, version)) return false
      if (!pages.valid(memory, base, version)) return false
      const childMemory = pages.memory
      const childBase = pages.base
      const childVersion = pages.version
      const expected = shapeOfLevel((shape >> 8) - 1)
      if (
        childMemory.u16[(childBase + PAGE_KIND) >> 1] !== expected ||
        childMemory.i32[(childBase + PAGE_TABLE) >> 2] !== this.tableId
      ) {
        if (!pages.valid(childMemory, childBase, childVersion)) return false
        throw corruptNode(
          this.tableId,
          child,
          `it is not the node of level ${(shape >> 8) - 1} that page ${pageId} takes it for`,
        )
      }
      memory = childMemory
      base = childBase
      version = childVersion
      shape = expected
      pageId = child
    }
    return true
  }

  /** A page that cannot be fixed is an error only while the parent still leads to it. */
  private fixChild(child: number, memory: PageMemory, base: number, version: number): boolean {
    try {
      this.pages.fix(child as PageId)
      return true
    } catch (error) {
      if (this.pages.valid(memory, base, version)) throw error
      return false
    }
  }

  /**
   * For the committer: records the path to the leaf for the key and returns the leaf's page id without touching the
   * leaf. Only the committer changes pages, but eviction goes on around it, so inner nodes are read like anybody does.
   */
  pathTo(key: Uint8Array, keyLength: number, seek: number = SEEK_AT): PageId {
    for (;;) {
      const leaf = this.tryPathTo(key, keyLength, seek)
      if (leaf !== 0) return leaf as PageId
    }
  }

  private tryPathTo(key: Uint8Array, keyLength: number, seek: number): number {
    const pages = this.pages
    let pageId: number = this.rootPageId
    let level = -1
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      this.pathPage[depth] = pageId
      this.depth = depth
      if (level === 0) return pageId
      pages.fix(pageId as PageId)
      const memory = pages.memory
      const base = pages.base
      const version = pages.version
      const shape = memory.u16[(base + PAGE_KIND) >> 1]!
      const wrong =
        (level > 0 && shape !== shapeOfLevel(level)) || memory.i32[(base + PAGE_TABLE) >> 2] !== this.tableId
      if (!wrong && shape === LEAF_SHAPE) {
        if (!pages.valid(memory, base, version)) return 0
        return pageId
      }
      const position = wrong ? -1 : searchChild(memory, base, pages.pageSize, key, keyLength, seek)
      const child = position < 0 ? 0 : childOf(memory, base, pages.pageSize, position)
      if (!pages.valid(memory, base, version)) return 0
      if (child <= 0 || shape >> 8 === 0) throw corruptNode(this.tableId, pageId, 'it leads nowhere')
      this.pathChild[depth] = position
      level = (shape >> 8) - 1
      pageId = child
    }
    throw corruptNode(this.tableId, pageId, 'the tree is deeper than any can be')
  }

  /** What a page fixed for change must be: itself, of this table, at this level. */
  expectNode(memory: PageMemory, base: number, pageId: number, shape: number): void {
    if (
      memory.i32[(base + PAGE_ID) >> 2] !== pageId ||
      memory.i32[(base + PAGE_TABLE) >> 2] !== this.tableId ||
      memory.u16[(base + PAGE_KIND) >> 1] !== shape
    ) {
      throw corruptNode(this.tableId, pageId, 'its header belongs to another page')
    }
  }
}
