/**
 * Changing a tree's shape: rebuilding a node, splitting, merging, and letting the root grow and shrink.
 *
 * ## Invariants
 * 1. One mini-transaction changes one node, at most one neighbour, and their parent; before and after it the tree is
 *    whole and holds the same rows. A row's change is a mini-transaction of its own, after those that made room for it:
 *    a death in between leaves a tree in which the row's change simply has not happened yet.
 * 2. A node is split only when its parent can take the separator as it is; otherwise the parent is given room first, and
 *    the caller starts again from the root.
 * 3. Everything is fixed, allocated and decided before the first save.
 * 4. Roles: who receives keys is released first, then the parent, then who gave keys away. A root that grows or
 *    shrinks is its children's parent.
 */
import { assert } from '../base/assert.js'
import { PageMemory } from '../memory/page-memory.js'
import {
  KIND_INNER,
  KIND_LEAF,
  type MiniTransaction,
  PAGE_HEADER_BYTES,
  PAGE_KIND,
  PAGE_KIND_HEADER,
  PAGE_LAST_CHANGE,
  type PageId,
  ROLE_DONOR,
  ROLE_PARENT,
  ROLE_RECEIVER,
  type VersionStore,
} from '../pages/page-access.js'
import type { Descent } from './descent.js'
import { CUT_AT_RUN, CUT_HIGH, CUT_LOW, CUT_MIDDLE, type Cut, chooseCut } from './node-cut.js'
import {
  appendRange,
  appendSeparator,
  bytesOfRange,
  commonLength,
  commonWithKey,
  copyKey,
  frameBytes,
  isPurgeable,
  KEEP_GHOSTS,
  startNode,
  writeSlot,
} from './node-image.js'
import {
  childAt,
  entryOf,
  highFence,
  INNER_SUFFIX,
  innerEntryBytes,
  LEAF_SHAPE,
  LEAF_SUFFIX,
  leafEntryBytes,
  lowFence,
  NODE_COUNT,
  NODE_EDIT_BYTES,
  NODE_EDIT_START,
  NODE_GARBAGE,
  NODE_HEAP_TOP,
  NODE_LAST_INSERT,
  NODE_RUN,
  nodeCount,
  nodeFree,
  nodeGhosts,
  nodeHighLength,
  nodeLowLength,
  nodePrefixLength,
  nodeShape,
  nodeUsed,
  SLOT_BYTES,
  shapeOfLevel,
  slotsOffset,
  suffixLengthOf,
} from './node-layout.js'
import { searchNode, sharesPrefix } from './node-search.js'
import { corruptNode } from './tree-errors.js'

/**
 * Told when a leaf holds ghosts that may be purged later: a key of the leaf finds it again. Called inside a
 * mini-transaction: it may take a note (the key's bytes are the caller's again afterwards) and nothing else.
 */
export type GhostListener = (tableId: number, pageId: number, key: Uint8Array) => void

/** With at least this many slots, a full node whose new key goes to one of its ends is taken to be loaded in order. */
const ORDERED_LOAD_SLOTS = 32
/** So many inserts one behind the other are no accident. */
const RUN_ROWS = 6
const EMPTY = Buffer.alloc(0)

/** Private copies of the pages being rewritten; one pair a thread, as only the holder of the commit latch needs it. */
const scratchPages = new Map<number, [PageMemory, PageMemory]>()

function scratchFor(pageSize: number): [PageMemory, PageMemory] {
  let pair = scratchPages.get(pageSize)
  if (pair === undefined) {
    pair = [new PageMemory(new ArrayBuffer(pageSize)), new PageMemory(new ArrayBuffer(pageSize))]
    scratchPages.set(pageSize, pair)
  }
  return pair
}

export class TreeShaper {
  onGhost: GhostListener | undefined
  private readonly first: PageMemory
  private readonly second: PageMemory

  constructor(
    private readonly mtr: MiniTransaction,
    private readonly versions: VersionStore,
    private readonly descent: Descent,
  ) {
    const pair = scratchFor(mtr.pageSize)
    this.first = pair[0]
    this.second = pair[1]
  }

  /**
   * Does one step towards room for a row in the leaf of its key: rewrites the leaf, splits it, or gives an inner node
   * room to take part in a split. The caller tries its row again afterwards.
   */
  makeRoom(key: Uint8Array, keyLength: number, valueLength: number): void {
    const { mtr, descent, versions } = this
    const leafId = descent.pathTo(key, keyLength)
    const depth = descent.depth
    const pending = Buffer.from(key.subarray(0, keyLength))
    mtr.begin()
    const leaf = mtr.fix(leafId, depth === 0 ? ROLE_PARENT : ROLE_DONOR)
    const memory = mtr.memory[leaf]!
    const base = mtr.base[leaf]!
    descent.expectNode(memory, base, leafId, LEAF_SHAPE)
    const count = nodeCount(memory, base)
    const prefix = this.prefixWith(memory, base, count, LEAF_SUFFIX, pending)
    const bytes =
      frameBytes(prefix.length, nodeLowLength(memory, base), nodeHighLength(memory, base)) +
      bytesOfRange(memory, base, 0, count, prefix.length, LEAF_SUFFIX, versions.floor) +
      SLOT_BYTES +
      leafEntryBytes(keyLength - prefix.length, valueLength)
    if (this.isWorthRewriting(memory, base, count, bytes, pending)) {
      this.rewrite(leaf, prefix, LEAF_SUFFIX, versions.floor)
      mtr.end()
      return
    }
    this.splitNode(leaf, depth, LEAF_SUFFIX, pending)
  }

  /** The same for a separator that an inner node at `depth` of the descent's path must take. */
  private makeRoomInside(depth: number, separator: Buffer): void {
    const { mtr, descent } = this
    const pageId = descent.pathPage[depth]! as PageId
    mtr.begin()
    const node = mtr.fix(pageId, depth === 0 ? ROLE_PARENT : ROLE_DONOR)
    const memory = mtr.memory[node]!
    const base = mtr.base[node]!
    const count = nodeCount(memory, base)
    const prefix = this.prefixWith(memory, base, count, INNER_SUFFIX, separator)
    const bytes =
      frameBytes(prefix.length, nodeLowLength(memory, base), nodeHighLength(memory, base)) +
      bytesOfRange(memory, base, 0, count, prefix.length, INNER_SUFFIX, KEEP_GHOSTS) +
      SLOT_BYTES +
      innerEntryBytes(separator.length - prefix.length)
    if (this.isWorthRewriting(memory, base, count, bytes, separator)) {
      this.rewrite(node, prefix, INNER_SUFFIX, KEEP_GHOSTS)
      mtr.end()
      return
    }
    this.splitNode(node, depth, INNER_SUFFIX, separator)
  }

  /** Common prefix of all keys of the node and one more. */
  private prefixWith(memory: PageMemory, base: number, count: number, suffixAt: number, key: Buffer): Buffer {
    if (count === 0) {
      const prefixLength = nodePrefixLength(memory, base)
      return key.subarray(0, commonLength(memory.u8, base + PAGE_HEADER_BYTES, prefixLength, key, 0, key.length))
    }
    const common = Math.min(
      commonWithKey(memory, base, 0, suffixAt, key, key.length),
      commonWithKey(memory, base, count - 1, suffixAt, key, key.length),
    )
    return key.subarray(0, common)
  }

  /**
   * A rewrite must leave a sixteenth of the page free, or it would soon be needed again; a split is due then. Nodes of few
   * entries are rewritten whenever that helps: they may not be divisible.
   */
  private isWorthRewriting(memory: PageMemory, base: number, count: number, bytes: number, key: Buffer): boolean {
    const pageSize = this.mtr.pageSize
    if (bytes > pageSize) return false
    return !sharesPrefix(memory, base, key, key.length) || count < 4 || bytes <= pageSize - (pageSize >> 4)
  }

  /** Writes a node again with another prefix, without garbage and without ghosts up to `floor`. Inside a mini-transaction. */
  private rewrite(node: number, prefix: Uint8Array, suffixAt: number, floor: number): void {
    const { mtr, first } = this
    const memory = mtr.memory[node]!
    const base = mtr.base[node]!
    this.copyPage(memory, base, first)
    mtr.savePage(node)
    startNode(
      memory,
      base,
      mtr.pageSize,
      prefix,
      lowFence(first, 0, mtr.pageSize),
      highFence(first, 0, mtr.pageSize),
      suffixAt === INNER_SUFFIX ? childAt(first, 0, 0) : 0,
    )
    appendRange(memory, base, first, 0, 0, nodeCount(first, 0), suffixAt, floor)
  }

  private copyPage(memory: PageMemory, base: number, target: PageMemory): void {
    target.u8.set(memory.u8.subarray(base, base + this.mtr.pageSize))
  }

  /** Splits the node fixed as `node`; inside a mini-transaction, which it ends. */
  private splitNode(node: number, depth: number, suffixAt: number, pending: Buffer): void {
    const { mtr, descent } = this
    const memory = mtr.memory[node]!
    const base = mtr.base[node]!
    const found = searchNode(memory, base, mtr.pageSize, pending, pending.length, suffixAt)
    if (found < 0) throw corruptNode(descent.tableId, mtr.pageId[node]!, 'its slots leave the page')
    const position = found >> 1
    const bias = (found & 1) === 1 ? CUT_MIDDLE : biasFor(memory, base, position, pending)
    const cut = chooseCut({ memory, base, pageSize: mtr.pageSize, suffixAt, bias, pending, position })
    if (depth === 0) {
      this.growRoot(node, suffixAt, cut)
      return
    }
    const parentId = descent.pathPage[depth - 1]! as PageId
    const parent = mtr.fix(parentId, ROLE_PARENT)
    const level = nodeShape(memory, base) >> 8
    descent.expectNode(mtr.memory[parent]!, mtr.base[parent]!, parentId, shapeOfLevel(level + 1))
    if (!this.canTakeSeparator(parent, cut.separator)) {
      mtr.end()
      this.makeRoomInside(depth - 1, cut.separator)
      return
    }
    const right = mtr.allocate(level === 0 ? KIND_LEAF : KIND_INNER, level, descent.tableId, ROLE_RECEIVER)
    const child = descent.pathChild[depth - 1]!
    this.copyPage(memory, base, this.first)
    mtr.savePage(node)
    this.saveForSeparator(parent, child)
    this.writeHalf(right, suffixAt, cut, true)
    this.writeHalf(node, suffixAt, cut, false)
    this.insertSeparator(parent, child, cut.separator, mtr.pageId[right]!)
    this.reportGhosts(right, cut.separator)
    this.reportGhosts(node, lowFence(this.first, 0, mtr.pageSize))
    mtr.end()
  }

  /** The root keeps its page: what it held moves to two new children. Ends the mini-transaction. */
  private growRoot(root: number, suffixAt: number, cut: Cut): void {
    const { mtr, descent } = this
    const memory = mtr.memory[root]!
    const base = mtr.base[root]!
    const level = nodeShape(memory, base) >> 8
    const kind = level === 0 ? KIND_LEAF : KIND_INNER
    assert(level + 1 < descent.pathPage.length, 'a tree stays below its greatest depth')
    const left = mtr.allocate(kind, level, descent.tableId, ROLE_RECEIVER)
    const right = mtr.allocate(kind, level, descent.tableId, ROLE_RECEIVER)
    this.copyPage(memory, base, this.first)
    mtr.savePage(root)
    this.writeHalf(left, suffixAt, cut, false)
    this.writeHalf(right, suffixAt, cut, true)
    startNode(memory, base, mtr.pageSize, EMPTY, EMPTY, EMPTY, mtr.pageId[left]!)
    appendSeparator(memory, base, cut.separator, mtr.pageId[right]!)
    memory.u16[(base + PAGE_KIND) >> 1] = shapeOfLevel(level + 1)
    this.reportGhosts(left, EMPTY)
    this.reportGhosts(right, cut.separator)
    mtr.end()
  }

  /** Writes one side of the page copied to the first scratch. New pages inherit its last change. */
  private writeHalf(target: number, suffixAt: number, cut: Cut, isRight: boolean): void {
    const { mtr, first } = this
    const memory = mtr.memory[target]!
    const base = mtr.base[target]!
    const pageSize = mtr.pageSize
    const count = nodeCount(first, 0)
    const low = isRight ? cut.separator : lowFence(first, 0, pageSize)
    const high = isRight ? highFence(first, 0, pageSize) : cut.separator
    const prefix = isRight ? cut.rightPrefix : cut.leftPrefix
    const leftmost = suffixAt === LEAF_SUFFIX ? 0 : childAt(first, 0, isRight ? cut.right : 0)
    memory.f64[(base + PAGE_LAST_CHANGE) >> 3] = first.f64[PAGE_LAST_CHANGE >> 3]!
    startNode(memory, base, pageSize, prefix, low, high, leftmost)
    if (isRight) appendRange(memory, base, first, 0, cut.right, count, suffixAt, KEEP_GHOSTS)
    else appendRange(memory, base, first, 0, 0, cut.left, suffixAt, KEEP_GHOSTS)
  }

  private canTakeSeparator(parent: number, separator: Buffer): boolean {
    const memory = this.mtr.memory[parent]!
    const base = this.mtr.base[parent]!
    if (!sharesPrefix(memory, base, separator, separator.length)) return false
    const suffixLength = separator.length - nodePrefixLength(memory, base)
    return nodeFree(memory, base) >= SLOT_BYTES + innerEntryBytes(suffixLength)
  }

  /** Undo for putting a separator into, or taking it out of, slot `index`. */
  private saveForSeparator(parent: number, index: number): void {
    const { mtr } = this
    const memory = mtr.memory[parent]!
    const base = mtr.base[parent]!
    const count = nodeCount(memory, base)
    mtr.saveRange(parent, NODE_EDIT_START, NODE_EDIT_BYTES)
    if (index < count) {
      const slot = slotsOffset(nodePrefixLength(memory, base)) + index * SLOT_BYTES
      mtr.saveRange(parent, slot, (count - index) * SLOT_BYTES)
    }
  }

  private insertSeparator(parent: number, index: number, separator: Buffer, child: number): void {
    const memory = this.mtr.memory[parent]!
    const base = this.mtr.base[parent]!
    const prefixLength = nodePrefixLength(memory, base)
    const suffixLength = separator.length - prefixLength
    const count = nodeCount(memory, base)
    const heapTop = memory.i32[(base + NODE_HEAP_TOP) >> 2]! - innerEntryBytes(suffixLength)
    const entry = base + heapTop
    memory.i32[entry >> 2] = child
    for (let i = 0; i < suffixLength; i++) memory.u8[entry + INNER_SUFFIX + i] = separator[prefixLength + i]!
    const slots = base + slotsOffset(prefixLength)
    const slot = slots + index * SLOT_BYTES
    memory.u8.copyWithin(slot + SLOT_BYTES, slot, slots + count * SLOT_BYTES)
    writeSlot(memory, slot, base, entry, suffixLength, INNER_SUFFIX)
    memory.i32[(base + NODE_HEAP_TOP) >> 2] = heapTop
    memory.u16[(base + NODE_COUNT) >> 1] = count + 1
  }

  private removeSeparator(parent: number, index: number): void {
    const memory = this.mtr.memory[parent]!
    const base = this.mtr.base[parent]!
    const count = nodeCount(memory, base)
    const slots = base + slotsOffset(nodePrefixLength(memory, base))
    const slot = slots + index * SLOT_BYTES
    const garbage = (base + NODE_GARBAGE) >> 2
    memory.i32[garbage] = memory.i32[garbage]! + innerEntryBytes(suffixLengthOf(memory, base, index))
    memory.u8.copyWithin(slot, slot + SLOT_BYTES, slots + count * SLOT_BYTES)
    memory.u16[(base + NODE_COUNT) >> 1] = count - 1
  }

  private reportGhosts(leaf: number, key: Uint8Array): void {
    const { mtr, onGhost } = this
    const memory = mtr.memory[leaf]!
    const base = mtr.base[leaf]!
    if (onGhost === undefined || nodeShape(memory, base) !== LEAF_SHAPE || nodeGhosts(memory, base) === 0) return
    onGhost(this.descent.tableId, mtr.pageId[leaf]!, key)
  }

  /** Removes the ghosts that nobody needs from the leaf of a key. Returns how many stay. */
  purgeLeaf(key: Uint8Array, keyLength: number): number {
    const { mtr, descent, versions } = this
    const leafId = descent.pathTo(key, keyLength)
    mtr.begin()
    const leaf = mtr.fix(leafId, ROLE_DONOR)
    const memory = mtr.memory[leaf]!
    const base = mtr.base[leaf]!
    descent.expectNode(memory, base, leafId, LEAF_SHAPE)
    if (nodeGhosts(memory, base) > 0 && this.hasPurgeable(memory, base)) {
      const prefix = Buffer.from(
        memory.u8.subarray(base + PAGE_HEADER_BYTES, base + PAGE_HEADER_BYTES + nodePrefixLength(memory, base)),
      )
      this.rewrite(leaf, prefix, LEAF_SUFFIX, versions.floor)
    }
    const remaining = nodeGhosts(memory, base)
    mtr.end()
    return remaining
  }

  private hasPurgeable(memory: PageMemory, base: number): boolean {
    const count = nodeCount(memory, base)
    for (let index = 0; index < count; index++) {
      if (isPurgeable(memory, entryOf(memory, base, index), this.versions.floor)) return true
    }
    return false
  }

  /** Merges underfull nodes on the way to a key with their neighbours, and lets the root shrink, until nothing is left to do. */
  shrink(key: Uint8Array, keyLength: number): void {
    for (;;) {
      this.descent.pathTo(key, keyLength)
      let depth = this.descent.depth
      while (depth > 0 && !this.mergeAt(depth)) depth--
      if (depth === 0 && !this.collapseRoot()) return
    }
  }

  /** Merges the node at `depth` of the path with a neighbour under the same parent. False when that is not due. */
  private mergeAt(depth: number): boolean {
    const { descent } = this
    if (this.usedIn(descent.pathPage[depth]! as PageId) >= this.mtr.pageSize >> 2) return false
    const parentId = descent.pathPage[depth - 1]! as PageId
    const position = descent.pathChild[depth - 1]!
    if (this.mergePair(parentId, position)) return true
    return position > 0 && this.mergePair(parentId, position - 1)
  }

  /** Bytes in use in a page, read as any reader does. */
  private usedIn(pageId: PageId): number {
    const { pages } = this.descent
    for (;;) {
      pages.fix(pageId)
      const { memory, base, version } = pages
      const used = nodeUsed(memory, base, pages.pageSize)
      if (pages.valid(memory, base, version)) return used
    }
  }

  /** Moves everything of child `position + 1` into child `position` and frees the former, if that leaves some room. */
  private mergePair(parentId: PageId, position: number): boolean {
    const { mtr, descent } = this
    mtr.begin()
    const parent = mtr.fix(parentId, ROLE_PARENT)
    const parentMemory = mtr.memory[parent]!
    const parentBase = mtr.base[parent]!
    if (position >= nodeCount(parentMemory, parentBase)) {
      mtr.end()
      return false
    }
    const leftId = childAt(parentMemory, parentBase, position) as PageId
    const rightId = childAt(parentMemory, parentBase, position + 1) as PageId
    const left = mtr.fix(leftId, ROLE_RECEIVER)
    const right = mtr.fix(rightId, ROLE_DONOR)
    const shape = shapeOfLevel((nodeShape(parentMemory, parentBase) >> 8) - 1)
    descent.expectNode(mtr.memory[left]!, mtr.base[left]!, leftId, shape)
    descent.expectNode(mtr.memory[right]!, mtr.base[right]!, rightId, shape)
    const separator = copyKey(parentMemory, parentBase, position, INNER_SUFFIX)
    this.copyPage(mtr.memory[left]!, mtr.base[left]!, this.first)
    this.copyPage(mtr.memory[right]!, mtr.base[right]!, this.second)
    const suffixAt = shape === LEAF_SHAPE ? LEAF_SUFFIX : INNER_SUFFIX
    const prefix = this.mergedPrefix(suffixAt, separator)
    const floor = suffixAt === LEAF_SUFFIX ? this.versions.floor : KEEP_GHOSTS
    if (!this.fitsMerged(prefix, separator, suffixAt, floor)) {
      mtr.end()
      return false
    }
    mtr.savePage(left)
    this.saveForSeparator(parent, position)
    this.writeMerged(left, prefix, separator, suffixAt, floor)
    this.removeSeparator(parent, position)
    mtr.free(right)
    this.reportGhosts(left, lowFence(this.first, 0, mtr.pageSize))
    mtr.end()
    return true
  }

  /** Common prefix of all keys of both scratch pages, and of the separator when it comes down between them. */
  private mergedPrefix(suffixAt: number, separator: Buffer): Buffer {
    const { first, second } = this
    const leftCount = nodeCount(first, 0)
    const rightCount = nodeCount(second, 0)
    const isInner = suffixAt === INNER_SUFFIX
    let lowest: Buffer | undefined
    if (leftCount > 0) lowest = copyKey(first, 0, 0, suffixAt)
    else if (isInner) lowest = separator
    else if (rightCount > 0) lowest = copyKey(second, 0, 0, suffixAt)
    let highest: Buffer | undefined
    if (rightCount > 0) highest = copyKey(second, 0, rightCount - 1, suffixAt)
    else if (isInner) highest = separator
    else if (leftCount > 0) highest = copyKey(first, 0, leftCount - 1, suffixAt)
    if (lowest === undefined || highest === undefined) return EMPTY
    return lowest.subarray(0, commonLength(lowest, 0, lowest.length, highest, 0, highest.length))
  }

  /** A merged page keeps a quarter free, so that it is not split again at once; but an empty page always goes if it can. */
  private fitsMerged(prefix: Buffer, separator: Buffer, suffixAt: number, floor: number): boolean {
    const { first, second } = this
    const pageSize = this.mtr.pageSize
    const leftCount = nodeCount(first, 0)
    const rightCount = nodeCount(second, 0)
    let bytes =
      frameBytes(prefix.length, nodeLowLength(first, 0), nodeHighLength(second, 0)) +
      bytesOfRange(first, 0, 0, leftCount, prefix.length, suffixAt, floor) +
      bytesOfRange(second, 0, 0, rightCount, prefix.length, suffixAt, floor)
    if (suffixAt === INNER_SUFFIX) bytes += SLOT_BYTES + innerEntryBytes(separator.length - prefix.length)
    const limit = leftCount === 0 || rightCount === 0 ? pageSize : pageSize - (pageSize >> 2)
    return bytes <= limit
  }

  private writeMerged(left: number, prefix: Buffer, separator: Buffer, suffixAt: number, floor: number): void {
    const { mtr, first, second } = this
    const memory = mtr.memory[left]!
    const base = mtr.base[left]!
    const pageSize = mtr.pageSize
    const isInner = suffixAt === INNER_SUFFIX
    const lastChange = (base + PAGE_LAST_CHANGE) >> 3
    memory.f64[lastChange] = Math.max(first.f64[PAGE_LAST_CHANGE >> 3]!, second.f64[PAGE_LAST_CHANGE >> 3]!)
    const low = lowFence(first, 0, pageSize)
    const high = highFence(second, 0, pageSize)
    startNode(memory, base, pageSize, prefix, low, high, isInner ? childAt(first, 0, 0) : 0)
    appendRange(memory, base, first, 0, 0, nodeCount(first, 0), suffixAt, floor)
    if (isInner) appendSeparator(memory, base, separator, childAt(second, 0, 0))
    appendRange(memory, base, second, 0, 0, nodeCount(second, 0), suffixAt, floor)
  }

  /** When the root has a single child, takes over what it holds. False when it has more, or is a leaf. */
  collapseRoot(): boolean {
    const { mtr, descent } = this
    const pageSize = mtr.pageSize
    mtr.begin()
    const root = mtr.fix(descent.rootPageId, ROLE_PARENT)
    const memory = mtr.memory[root]!
    const base = mtr.base[root]!
    const level = nodeShape(memory, base) >> 8
    if (level === 0 || nodeCount(memory, base) > 0) {
      mtr.end()
      return false
    }
    const childId = childAt(memory, base, 0) as PageId
    const child = mtr.fix(childId, ROLE_DONOR)
    const childMemory = mtr.memory[child]!
    const childBase = mtr.base[child]!
    descent.expectNode(childMemory, childBase, childId, shapeOfLevel(level - 1))
    this.copyPage(childMemory, childBase, this.first)
    mtr.savePage(root)
    const lastChange = (base + PAGE_LAST_CHANGE) >> 3
    memory.f64[lastChange] = Math.max(memory.f64[lastChange]!, this.first.f64[PAGE_LAST_CHANGE >> 3]!)
    memory.u16[(base + PAGE_KIND) >> 1] = shapeOfLevel(level - 1)
    memory.u8.set(this.first.u8.subarray(PAGE_KIND_HEADER, pageSize), base + PAGE_KIND_HEADER)
    mtr.free(child)
    this.reportGhosts(root, EMPTY)
    mtr.end()
    return true
  }
}

/** Where the load of a full node suggests to cut it, when a new key goes to slot `position`. */
function biasFor(memory: PageMemory, base: number, position: number, pending: Buffer): number {
  const count = nodeCount(memory, base)
  const ordered = count >= ORDERED_LOAD_SLOTS || !sharesPrefix(memory, base, pending, pending.length)
  if (position === count && (ordered || nodeHighLength(memory, base) === 0)) return CUT_HIGH
  if (position === 0 && (ordered || nodeLowLength(memory, base) === 0)) return CUT_LOW
  const continuesRun =
    nodeShape(memory, base) === LEAF_SHAPE &&
    memory.u16[(base + NODE_RUN) >> 1]! >= RUN_ROWS &&
    memory.i32[(base + NODE_LAST_INSERT) >> 2] === position - 1
  return continuesRun && position > 0 && position < count ? CUT_AT_RUN : CUT_MIDDLE
}
