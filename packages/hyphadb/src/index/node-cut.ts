/**
 * Where to cut a node in two. Loads that ascend or descend leave full pages behind: the cut then lies at the end where
 * the pending key goes, up to leaving one side empty. Otherwise the cut is near the middle by bytes, at the place in a
 * small window that gives the shortest separator (Bayer and Unterauer, "Prefix B-trees", 1977).
 */
import { assert } from '../base/assert.js'
import type { PageMemory } from '../memory/page-memory.js'
import {
  bytesOfRange,
  commonLength,
  commonOfSlots,
  commonWithKey,
  copyKey,
  frameBytes,
  KEEP_GHOSTS,
} from './node-image.js'
import { INNER_SUFFIX, LEAF_SUFFIX, nodeCount, nodeHighLength, nodeLowLength } from './node-layout.js'

export const CUT_LOW = 0
export const CUT_MIDDLE = 1
export const CUT_HIGH = 2
/** Before the slot where the pending key goes: it continues a run whose end lies within the node. */
export const CUT_AT_RUN = 3

/** A side with fewer slots takes the prefix of the whole node: its own would be too long for the keys to come. */
const FEW_SLOTS = 8

export interface Cut {
  /** Slots [0, left) stay, slots [right, count) move; an inner node's slot between them goes up. */
  readonly left: number
  readonly right: number
  readonly separator: Buffer
  readonly leftPrefix: Buffer
  readonly rightPrefix: Buffer
}

/** What a cut is chosen for. `pending` is the key that needs room. */
export interface CutRequest {
  readonly memory: PageMemory
  readonly base: number
  readonly pageSize: number
  readonly suffixAt: number
  readonly bias: number
  readonly pending: Buffer
  /** Slot where the pending key goes. */
  readonly position: number
}

export function chooseCut(request: CutRequest): Cut {
  const count = nodeCount(request.memory, request.base)
  const isLeaf = request.suffixAt === LEAF_SUFFIX
  assert(count >= (isLeaf ? 1 : 2), 'a node with a single entry has room for another')
  if (request.bias === CUT_HIGH) {
    for (let at = isLeaf ? count : count - 1; at >= 0; at--) {
      const cut = tryCut(request, count, at)
      if (cut !== undefined) return cut
    }
  } else if (request.bias === CUT_LOW) {
    for (let at = 0; at <= count; at++) {
      const cut = tryCut(request, count, at)
      if (cut !== undefined) return cut
    }
  }
  if (request.bias === CUT_AT_RUN) {
    const cut = tryCut(request, count, request.position)
    if (cut !== undefined) return cut
  }
  return cutInTheMiddle(request, count)
}

function cutInTheMiddle(request: CutRequest, count: number): Cut {
  const middle = middleByBytes(request, count)
  const reach = Math.max(count >> 4, 0)
  let best = middle
  let shortest = separatorLength(request, middle)
  for (let distance = 1; distance <= reach; distance++) {
    for (const at of [middle - distance, middle + distance]) {
      if (at < 1 || at >= count) continue
      const length = separatorLength(request, at)
      if (length < shortest) {
        shortest = length
        best = at
      }
    }
  }
  const preferred = tryCut(request, count, best)
  if (preferred !== undefined) return preferred
  for (let distance = 0; distance < count; distance++) {
    for (const at of [middle - distance, middle + distance]) {
      const cut = at < 1 || at >= count ? undefined : tryCut(request, count, at)
      if (cut !== undefined) return cut
    }
  }
  assert(false, 'two halves of a node fit into two pages')
}

/** The slot at which the bytes before and after are most alike; between 1 and count - 1. */
function middleByBytes(request: CutRequest, count: number): number {
  const { memory, base, suffixAt } = request
  let total = 0
  const sizes = new Int32Array(count)
  for (let index = 0; index < count; index++) {
    sizes[index] = bytesOfRange(memory, base, index, index + 1, 0, suffixAt, KEEP_GHOSTS)
    total += sizes[index]!
  }
  let before = 0
  let best = 1
  let least = Number.POSITIVE_INFINITY
  for (let at = 1; at < count; at++) {
    before += sizes[at - 1]!
    const after = suffixAt === LEAF_SUFFIX ? total - before : total - before - sizes[at]!
    const larger = before > after ? before : after
    if (larger < least) {
      least = larger
      best = at
    }
  }
  return best
}

function separatorLength(request: CutRequest, at: number): number {
  const { memory, base, suffixAt } = request
  return suffixAt === INNER_SUFFIX
    ? copyKey(memory, base, at, suffixAt).length
    : commonOfSlots(memory, base, at - 1, at, suffixAt) + 1
}

/** The cut before slot `at` (leaf) or at slot `at` (inner), or undefined when a side would not fit its page. */
function tryCut(request: CutRequest, count: number, at: number): Cut | undefined {
  const { memory, base, pageSize, suffixAt } = request
  const isLeaf = suffixAt === LEAF_SUFFIX
  if (!isLeaf && at >= count) return undefined
  const right = isLeaf ? at : at + 1
  const separator = separatorOf(request, count, at)
  if (separator === undefined) return undefined
  const leftPrefix = sidePrefix(request, count, 0, at)
  const rightPrefix = sidePrefix(request, count, right, count)
  const leftBytes =
    frameBytes(leftPrefix.length, nodeLowLength(memory, base), separator.length) +
    bytesOfRange(memory, base, 0, at, leftPrefix.length, suffixAt, KEEP_GHOSTS)
  const rightBytes =
    frameBytes(rightPrefix.length, separator.length, nodeHighLength(memory, base)) +
    bytesOfRange(memory, base, right, count, rightPrefix.length, suffixAt, KEEP_GHOSTS)
  if (leftBytes > pageSize || rightBytes > pageSize) return undefined
  return { left: at, right, separator, leftPrefix, rightPrefix }
}

/** The shortest key above everything left of the cut and not above anything right of it. */
function separatorOf(request: CutRequest, count: number, at: number): Buffer | undefined {
  const { memory, base, suffixAt, pending } = request
  if (suffixAt === INNER_SUFFIX) return copyKey(memory, base, at, suffixAt)
  const below = at === 0 ? pending : copyKey(memory, base, at - 1, suffixAt)
  const above = at === count ? pending : copyKey(memory, base, at, suffixAt)
  if (Buffer.compare(below, above) >= 0) return undefined
  return above.subarray(0, commonLength(below, 0, below.length, above, 0, above.length) + 1)
}

function sidePrefix(request: CutRequest, count: number, from: number, to: number): Buffer {
  const { memory, base, suffixAt, pending } = request
  let length: number
  if (to - from >= FEW_SLOTS) length = commonOfSlots(memory, base, from, to - 1, suffixAt)
  else {
    length = Math.min(
      commonOfSlots(memory, base, 0, count - 1, suffixAt),
      commonWithKey(memory, base, 0, suffixAt, pending, pending.length),
    )
  }
  return copyKey(memory, base, from < to ? from : 0, suffixAt).subarray(0, length)
}
