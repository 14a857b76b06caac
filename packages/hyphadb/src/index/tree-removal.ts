/**
 * Freeing the pages of a dropped table piece by piece, from its last leaf backwards, so that what is left is a smaller
 * tree at any moment and the work can go on after a death. Nobody reads the table any more.
 */
import type { PageMemory } from '../memory/page-memory.js'
import { type MiniTransaction, type PageId, ROLE_DONOR, ROLE_PARENT } from '../pages/page-access.js'
import type { Descent } from './descent.js'
import {
  childAt,
  entryBytes,
  entryOf,
  INNER_SUFFIX,
  LEAF_SHAPE,
  NODE_COUNT,
  NODE_EDIT_BYTES,
  NODE_EDIT_START,
  NODE_GARBAGE,
  nodeCount,
  nodeShape,
  OVERFLOW_REFERENCE_BYTES,
  ROW_DELETED,
  ROW_FLAGS,
  ROW_OVERFLOW,
  ROW_VALUE_LENGTH,
  suffixLengthOf,
  valueOf,
} from './node-layout.js'
import { SEEK_LAST } from './node-search.js'
import { corruptNode } from './tree-errors.js'
import type { TreeShaper } from './tree-shape.js'

/** Leaves freed by one mini-transaction. */
const LEAVES_AT_ONCE = 8
const NO_KEY = new Uint8Array(0)

export class TreeRemoval {
  constructor(
    private readonly mtr: MiniTransaction,
    private readonly descent: Descent,
    private readonly shaper: TreeShaper,
  ) {}

  /** Frees about `pageLimit` pages. True when the root is gone too. */
  freeSome(pageLimit: number, onOverflow: (reference: Buffer) => void): boolean {
    let freed = 0
    while (freed < pageLimit) {
      this.descent.pathTo(NO_KEY, 0, SEEK_LAST)
      if (this.descent.depth === 0) {
        this.freeRoot(onOverflow)
        return true
      }
      if (this.shaper.collapseRoot()) freed++
      else freed += this.freeLast(Math.min(pageLimit - freed, LEAVES_AT_ONCE), onOverflow)
    }
    return false
  }

  private freeRoot(onOverflow: (reference: Buffer) => void): void {
    const { mtr, descent } = this
    mtr.begin()
    const root = mtr.fix(descent.rootPageId, ROLE_DONOR)
    this.reportOverflow(mtr.memory[root]!, mtr.base[root]!, onOverflow)
    mtr.free(root)
    mtr.end()
  }

  /**
   * Takes the last children from the lowest node on the last path that has more than one. Below it every node has a
   * single child, and goes with it.
   */
  private freeLast(leafLimit: number, onOverflow: (reference: Buffer) => void): number {
    const { mtr, descent } = this
    let depth = descent.depth - 1
    while (depth > 0 && descent.pathChild[depth] === 0) depth--
    const nodeId = descent.pathPage[depth]! as PageId
    mtr.begin()
    const node = mtr.fix(nodeId, ROLE_PARENT)
    const memory = mtr.memory[node]!
    const base = mtr.base[node]!
    const count = nodeCount(memory, base)
    if (count === 0) throw corruptNode(descent.tableId, nodeId, 'it has a single child where there must be more')
    const children: number[] = []
    const chainLength = descent.depth - depth
    const taken = chainLength > 1 ? 1 : Math.min(leafLimit, count)
    for (let i = 0; i < taken; i++) children.push(mtr.fix(childAt(memory, base, count - i) as PageId, ROLE_DONOR))
    for (let below = depth + 2; below <= descent.depth; below++) {
      children.push(mtr.fix(descent.pathPage[below]! as PageId, ROLE_DONOR))
    }
    for (const child of children) this.reportOverflow(mtr.memory[child]!, mtr.base[child]!, onOverflow)
    mtr.saveRange(node, NODE_EDIT_START, NODE_EDIT_BYTES)
    let garbage = 0
    for (let i = 1; i <= taken; i++) {
      const entry = entryOf(memory, base, count - i)
      garbage += entryBytes(memory, entry, suffixLengthOf(memory, base, count - i), INNER_SUFFIX)
    }
    memory.i32[(base + NODE_GARBAGE) >> 2] = memory.i32[(base + NODE_GARBAGE) >> 2]! + garbage
    memory.u16[(base + NODE_COUNT) >> 1] = count - taken
    for (const child of children) mtr.free(child)
    mtr.end()
    return children.length
  }

  /** References are handed out before their leaf is freed: freeing them twice must be harmless to the caller. */
  private reportOverflow(memory: PageMemory, base: number, onOverflow: (reference: Buffer) => void): void {
    if (nodeShape(memory, base) !== LEAF_SHAPE) return
    const count = nodeCount(memory, base)
    for (let index = 0; index < count; index++) {
      const entry = entryOf(memory, base, index)
      const flags = memory.u16[(entry + ROW_FLAGS) >> 1]!
      if ((flags & ROW_OVERFLOW) === 0 || (flags & ROW_DELETED) !== 0) continue
      const start = valueOf(entry, suffixLengthOf(memory, base, index))
      const length = memory.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
      if (length < OVERFLOW_REFERENCE_BYTES) {
        throw corruptNode(
          this.descent.tableId,
          memory.i32[(base + 4) >> 2]!,
          'a reference to overflow pages is cut off',
        )
      }
      onOverflow(Buffer.from(memory.buffer.subarray(start, start + length)))
    }
  }
}
