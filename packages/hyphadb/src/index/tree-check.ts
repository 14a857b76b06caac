/**
 * Verifying a tree: every page is walked from the root, every byte range accounted for, every fault reported with its
 * page, and the walk goes on wherever something sensible is left. Pages are copied first, so nothing here trusts or
 * touches shared memory. The tree must not change during the walk.
 */
import { PageMemory } from '../memory/page-memory.js'
import { PAGE_ID, PAGE_KIND, PAGE_LAST_CHANGE, PAGE_TABLE, type PageId, type PageReader } from '../pages/page-access.js'
import { copyKey } from './node-image.js'
import {
  childAt,
  entryBytes,
  entryOf,
  fenceBytes,
  headOf,
  highFence,
  INNER_SUFFIX,
  LEAF_SUFFIX,
  lowFence,
  MAX_DEPTH,
  maxKeyLength,
  nodeCount,
  nodeGarbage,
  nodeGhosts,
  nodeHeapTop,
  nodeHighLength,
  nodeLowLength,
  nodePrefixLength,
  OVERFLOW_REFERENCE_BYTES,
  ROW_DELETED,
  ROW_FLAGS,
  ROW_OVERFLOW,
  ROW_SUFFIX_LENGTH,
  ROW_VALUE_LENGTH,
  SLOT_BYTES,
  shapeOfLevel,
  slotsOffset,
  suffixLengthOf,
  valueOf,
} from './node-layout.js'

/** Something that is not as it must be. */
export interface Fault {
  readonly tableId: number
  readonly pageId: number
  readonly what: string
}

export interface TreeCheckResult {
  /** Every page that belongs to the tree. */
  readonly pages: Set<number>
  /** Rows that are not ghosts, by their newest version. */
  readonly rows: number
  readonly ghosts: number
  readonly depth: number
  /** Share of the leaves' bytes that is in use. */
  readonly leafFill: number
}

interface Visit {
  readonly pageId: number
  readonly level: number
  readonly low: Buffer
  readonly high: Buffer
  readonly parent: number
}

export class TreeCheck {
  private readonly pagesSeen = new Set<number>()
  private readonly page: PageMemory
  private readonly pageSize: number
  private rows = 0
  private ghosts = 0
  private leaves = 0
  private leafBytes = 0
  private depth = 0

  constructor(
    private readonly pages: PageReader,
    private readonly tableId: number,
    private readonly rootPageId: PageId,
    private readonly report: (fault: Fault) => void,
    private readonly onOverflow: ((reference: Buffer, pageId: number) => void) | undefined,
    private readonly isBeingFreed: boolean,
  ) {
    this.pageSize = pages.pageSize
    this.page = new PageMemory(new ArrayBuffer(this.pageSize))
  }

  run(): TreeCheckResult {
    const pending: Visit[] = []
    if (this.load(this.rootPageId, 0)) {
      const level = this.page.u16[PAGE_KIND >> 1]! >> 8
      if (level >= MAX_DEPTH) this.fault(this.rootPageId, `the root's level ${level} is impossible`)
      else {
        this.depth = level + 1
        pending.push({ pageId: this.rootPageId, level, low: Buffer.alloc(0), high: Buffer.alloc(0), parent: 0 })
      }
    }
    for (let visit = pending.pop(); visit !== undefined; visit = pending.pop()) this.visit(visit, pending)
    const leafFill = this.leaves === 0 ? 0 : this.leafBytes / (this.leaves * this.pageSize)
    return { pages: this.pagesSeen, rows: this.rows, ghosts: this.ghosts, depth: this.depth, leafFill }
  }

  private fault(pageId: number, what: string): void {
    this.report({ tableId: this.tableId, pageId, what })
  }

  /** Copies a page; a page that cannot be read is a fault. */
  private load(pageId: number, parent: number): boolean {
    try {
      for (;;) {
        this.pages.fix(pageId as PageId)
        const { memory, base, version } = this.pages
        this.page.u8.set(memory.u8.subarray(base, base + this.pageSize))
        if (this.pages.valid(memory, base, version)) return true
      }
    } catch (error) {
      this.fault(
        pageId,
        `cannot be read (from page ${parent}): ${error instanceof Error ? error.message : String(error)}`,
      )
      return false
    }
  }

  private visit(visit: Visit, pending: Visit[]): void {
    const { pageId, level, parent } = visit
    if (this.pagesSeen.has(pageId)) {
      this.fault(pageId, `is reached more than once (again from page ${parent})`)
      return
    }
    this.pagesSeen.add(pageId)
    if (!this.load(pageId, parent)) return
    const suffixAt = level === 0 ? LEAF_SUFFIX : INNER_SUFFIX
    if (!this.checkHeader(visit) || !this.checkSpace(pageId, suffixAt)) return
    this.checkFences(visit)
    this.checkKeys(visit, suffixAt)
    if (level === 0) this.checkRows(pageId)
    else this.enqueueChildren(visit, pending)
  }

  private checkHeader({ pageId, level, parent }: Visit): boolean {
    const { i32, u16 } = this.page
    let sound = true
    const demand = (condition: boolean, what: string): void => {
      if (condition) return
      sound = false
      this.fault(pageId, what)
    }
    demand(i32[PAGE_ID >> 2] === pageId, `says that it is page ${i32[PAGE_ID >> 2]}`)
    demand(i32[PAGE_TABLE >> 2] === this.tableId, `belongs to table ${i32[PAGE_TABLE >> 2]}`)
    demand(
      u16[PAGE_KIND >> 1] === shapeOfLevel(level),
      `has kind and level ${u16[PAGE_KIND >> 1]}, but page ${parent} takes it for level ${level}`,
    )
    return sound
  }

  /** Slots, entries and fences lie in the page, do not overlap, and leave exactly the garbage that the header states. */
  private checkSpace(pageId: number, suffixAt: number): boolean {
    const { page, pageSize } = this
    const count = nodeCount(page, 0)
    const prefixLength = nodePrefixLength(page, 0)
    const heapTop = nodeHeapTop(page, 0)
    const fences = fenceBytes(nodeLowLength(page, 0), nodeHighLength(page, 0))
    const longest = maxKeyLength(pageSize)
    if (prefixLength > longest || nodeLowLength(page, 0) > longest || nodeHighLength(page, 0) > longest) {
      this.fault(pageId, 'has a prefix or fence longer than any key')
      return false
    }
    if (
      slotsOffset(prefixLength) + count * SLOT_BYTES > heapTop ||
      heapTop > pageSize - fences ||
      (heapTop & 7) !== 0
    ) {
      this.fault(pageId, `its heap begins at ${heapTop}, into ${count} slots or the fences`)
      return false
    }
    const starts: [number, number][] = []
    for (let index = 0; index < count; index++) {
      const entry = entryOf(page, 0, index)
      const suffixLength = suffixLengthOf(page, 0, index)
      const headEnd = entry + (suffixAt === LEAF_SUFFIX ? LEAF_SUFFIX : INNER_SUFFIX + suffixLength)
      const bytes = headEnd <= pageSize ? entryBytes(page, entry, suffixLength, suffixAt) : 0
      if (entry < heapTop || bytes <= 0 || bytes > pageSize || entry + bytes > pageSize - fences) {
        this.fault(pageId, `entry ${index} at ${entry} leaves the heap`)
        return false
      }
      starts.push([entry, bytes])
    }
    return this.checkOverlaps(pageId, starts, heapTop, pageSize - fences)
  }

  private checkOverlaps(pageId: number, starts: [number, number][], heapTop: number, heapEnd: number): boolean {
    starts.sort((a, b) => a[0] - b[0])
    let end = heapTop
    let used = 0
    for (const [entry, bytes] of starts) {
      if (entry < end) {
        this.fault(pageId, `the entry at ${entry} overlaps the one before it`)
        return false
      }
      end = entry + bytes
      used += bytes
    }
    const garbage = heapEnd - heapTop - used
    if (garbage !== nodeGarbage(this.page, 0)) {
      this.fault(pageId, `counts ${nodeGarbage(this.page, 0)} bytes of garbage, but has ${garbage}`)
    }
    return true
  }

  private checkFences({ pageId, low, high, parent }: Visit): void {
    const { page, pageSize } = this
    if (Buffer.compare(lowFence(page, 0, pageSize), low) !== 0) {
      this.fault(pageId, `its low fence is not the separator in page ${parent}`)
    }
    if (high.length === 0 && this.isBeingFreed) return
    if (Buffer.compare(highFence(page, 0, pageSize), high) !== 0) {
      this.fault(pageId, `its high fence is not the separator in page ${parent}`)
    }
  }

  private checkKeys({ pageId, low, high }: Visit, suffixAt: number): void {
    const { page } = this
    const count = nodeCount(page, 0)
    let previous: Buffer | undefined
    for (let index = 0; index < count; index++) {
      const key = copyKey(page, 0, index, suffixAt)
      const slot = slotsOffset(nodePrefixLength(page, 0)) + index * SLOT_BYTES
      if (page.i32[slot >> 2] !== headOf(key, nodePrefixLength(page, 0), key.length)) {
        this.fault(pageId, `the head of slot ${index} is not the beginning of its key`)
      }
      if (key.length > maxKeyLength(this.pageSize)) this.fault(pageId, `the key of slot ${index} is too long`)
      if (previous !== undefined && Buffer.compare(previous, key) >= 0) {
        this.fault(pageId, `the key of slot ${index} is not above the one before it`)
      }
      if (Buffer.compare(key, low) < 0 || (high.length > 0 && Buffer.compare(key, high) >= 0)) {
        this.fault(pageId, `the key of slot ${index} lies outside of the fences`)
      }
      previous = key
    }
  }

  private checkRows(pageId: number): void {
    const { page } = this
    const count = nodeCount(page, 0)
    const lastChange = page.f64[PAGE_LAST_CHANGE >> 3]!
    let ghosts = 0
    for (let index = 0; index < count; index++) {
      const entry = entryOf(page, 0, index)
      const suffixLength = suffixLengthOf(page, 0, index)
      const sequence = page.f64[entry >> 3]!
      const flags = page.u16[(entry + ROW_FLAGS) >> 1]!
      const length = page.i32[(entry + ROW_VALUE_LENGTH) >> 2]!
      if (page.u16[(entry + ROW_SUFFIX_LENGTH) >> 1] !== suffixLength) {
        this.fault(pageId, `entry ${index} and its slot differ about the key's length`)
      }
      if (!(sequence > 0 && sequence <= lastChange)) {
        this.fault(pageId, `entry ${index} has sequence ${sequence}, the page's last change is ${lastChange}`)
      }
      if ((flags & ROW_DELETED) !== 0) {
        ghosts++
        if (length !== 0) this.fault(pageId, `entry ${index} is deleted and has a value`)
      } else if ((flags & ROW_OVERFLOW) !== 0) this.checkOverflow(pageId, index, valueOf(entry, suffixLength), length)
    }
    if (ghosts !== nodeGhosts(page, 0)) this.fault(pageId, `counts ${nodeGhosts(page, 0)} ghosts, but has ${ghosts}`)
    this.rows += count - ghosts
    this.ghosts += ghosts
    this.leaves++
    this.leafBytes +=
      this.pageSize - (nodeHeapTop(page, 0) - slotsOffset(nodePrefixLength(page, 0)) - count * SLOT_BYTES)
    this.leafBytes -= nodeGarbage(page, 0)
  }

  private checkOverflow(pageId: number, index: number, start: number, length: number): void {
    if (length < OVERFLOW_REFERENCE_BYTES) {
      this.fault(pageId, `entry ${index} refers to overflow pages in ${length} bytes`)
      return
    }
    this.onOverflow?.(Buffer.from(this.page.buffer.subarray(start, start + length)), pageId)
  }

  private enqueueChildren({ pageId, level, low, high }: Visit, pending: Visit[]): void {
    const { page } = this
    const count = nodeCount(page, 0)
    for (let position = count; position >= 0; position--) {
      const child = childAt(page, 0, position)
      if (child <= 0) {
        this.fault(pageId, `child ${position} is page ${child}`)
        continue
      }
      pending.push({
        pageId: child,
        level: level - 1,
        low: position === 0 ? low : copyKey(page, 0, position - 1, INNER_SUFFIX),
        high: position === count ? high : copyKey(page, 0, position, INNER_SUFFIX),
        parent: pageId,
      })
    }
  }
}
