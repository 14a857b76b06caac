/**
 * Reading what a plan says: sources of documents, one row at a time. A source holds a cursor; whoever makes one closes it.
 */
import { HyphaError } from '../base/errors.js'
import type { Cursor, Reader, Table } from '../engine/api.js'
import type { ByteRange } from './bounds.js'
import { decodeDocument } from './codec-reader.js'
import { EntryReader, FLAG_INEXACT, FLAG_SEVERAL, type OpenIndex } from './index-entries.js'
import { decodeKey, keyEnd, skipKey } from './keys.js'
import { compileFilter, type Matcher } from './matcher.js'
import type { AccessPlan, Plan } from './plan.js'
import type { ShapeRegistry } from './shapes.js'

export interface RowSource {
  /** The current document; valid after `next()` gave true. */
  readonly document: object
  next(): boolean
  close(): void
}

export interface RowContext {
  readonly reader: Reader
  readonly table: Table
  readonly collection: string
  readonly key: string
  readonly shapes: ShapeRegistry
}

export function openRows(plan: Plan, context: RowContext): RowSource {
  const matches = compileFilter(plan.residual, context.key)
  if (plan.kind === 'union') return new UnionRows(plan.branches, matches, context)
  if (plan.points) return new PointRows(plan.ranges, plan.reverse, matches, context)
  if (plan.index === undefined) return new PrimaryRows(plan.ranges, plan.reverse, matches, context)
  if (plan.covered) return new CoveredRows(plan, matches, context)
  return new IndexRows(plan, matches, context)
}

/** Walks ranges one after the other, in either direction. */
class RangeWalk {
  cursor: Cursor | undefined
  private at: number
  private readonly step: number

  constructor(
    private readonly reader: Reader,
    private readonly table: Table,
    private readonly ranges: readonly ByteRange[],
    private readonly reverse: boolean,
  ) {
    this.at = reverse ? ranges.length - 1 : 0
    this.step = reverse ? -1 : 1
  }

  /** The cursor on the next row, or undefined at the end. */
  next(): Cursor | undefined {
    for (;;) {
      if (this.cursor !== undefined) {
        if (this.cursor.next()) return this.cursor
        this.cursor.close()
        this.cursor = undefined
        this.at += this.step
      }
      if (this.at < 0 || this.at >= this.ranges.length) return undefined
      const range = this.ranges[this.at]
      this.cursor = this.reader.range(this.table, { gte: range.gte, lt: range.lt, reverse: this.reverse })
    }
  }

  close(): void {
    this.cursor?.close()
    this.cursor = undefined
    this.at = -1
  }
}

class PrimaryRows implements RowSource {
  document: object = {}
  private readonly walk: RangeWalk

  constructor(
    ranges: readonly ByteRange[],
    reverse: boolean,
    private readonly matches: Matcher,
    private readonly context: RowContext,
  ) {
    this.walk = new RangeWalk(context.reader, context.table, ranges, reverse)
  }

  next(): boolean {
    for (;;) {
      const cursor = this.walk.next()
      if (cursor === undefined) return false
      this.document = decodeDocument(cursor.buffer, cursor.valueStart, cursor.valueEnd, this.context.shapes)
      if (this.matches(this.document)) return true
    }
  }

  close(): void {
    this.walk.close()
  }
}

/** Primary keys known one by one. */
class PointRows implements RowSource {
  document: object = {}
  private at = 0

  constructor(
    private readonly ranges: readonly ByteRange[],
    private readonly reverse: boolean,
    private readonly matches: Matcher,
    private readonly context: RowContext,
  ) {}

  next(): boolean {
    while (this.at < this.ranges.length) {
      const range = this.ranges[this.reverse ? this.ranges.length - 1 - this.at : this.at]
      this.at++
      const document = readDocument(this.context, range.gte)
      if (document !== undefined && this.matches(document)) {
        this.document = document
        return true
      }
    }
    return false
  }

  close(): void {
    this.at = this.ranges.length
  }
}

export function readDocument(context: RowContext, key: Uint8Array): object | undefined {
  const { reader } = context
  if (!reader.find(context.table, key)) return undefined
  return decodeDocument(reader.buffer, reader.valueStart, reader.valueEnd, context.shapes)
}

class IndexRows implements RowSource {
  document: object = {}
  private readonly walk: RangeWalk
  private readonly entry: EntryReader
  private readonly seen: Set<string> | undefined
  private readonly index: OpenIndex

  constructor(
    plan: AccessPlan,
    private readonly matches: Matcher,
    private readonly context: RowContext,
  ) {
    this.index = indexOf(plan)
    this.walk = new RangeWalk(context.reader, this.index.table, plan.ranges, plan.reverse)
    this.entry = new EntryReader(this.index)
    this.seen = plan.several ? new Set<string>() : undefined
  }

  next(): boolean {
    const { entry, seen } = this
    for (;;) {
      const cursor = this.walk.next()
      if (cursor === undefined) return false
      entry.read(cursor)
      if (
        seen !== undefined &&
        (entry.flags & FLAG_SEVERAL) !== 0 &&
        !isNew(seen, entry.buffer, entry.start, entry.end)
      )
        continue
      this.document = fetch(this.context, entry.key(), this.index)
      if (this.matches(this.document)) return true
    }
  }

  close(): void {
    this.walk.close()
  }
}

function indexOf(plan: AccessPlan): OpenIndex {
  if (plan.index === undefined) throw new HyphaError('HYPHA_ASSERTION', 'the plan has no index')
  return plan.index
}

function isNew(seen: Set<string>, key: Buffer, start: number, end: number): boolean {
  const text = key.latin1Slice(start, end)
  if (seen.has(text)) return false
  seen.add(text)
  return true
}

function fetch(context: RowContext, key: Uint8Array, index: OpenIndex): object {
  const document = readDocument(context, key)
  if (document !== undefined) return document
  throw new HyphaError(
    'HYPHA_CORRUPT',
    `Index '${index.name}' of collection '${context.collection}' names a document that does not exist: run 'hypha verify'`,
  )
}

/** Documents made of what the entries hold. */
class CoveredRows implements RowSource {
  document: object = {}
  private readonly walk: RangeWalk
  private readonly entry: EntryReader
  private readonly names: readonly (string | undefined)[]
  private readonly index: OpenIndex

  constructor(
    plan: AccessPlan,
    private readonly matches: Matcher,
    private readonly context: RowContext,
  ) {
    this.index = indexOf(plan)
    this.walk = new RangeWalk(context.reader, this.index.table, plan.ranges, plan.reverse)
    this.entry = new EntryReader(this.index)
    this.names = this.index.paths.map(path => path.field)
  }

  next(): boolean {
    for (;;) {
      const cursor = this.walk.next()
      if (cursor === undefined) return false
      this.document = this.fromEntry(cursor)
      if (this.matches(this.document)) return true
    }
  }

  private fromEntry(cursor: Cursor): object {
    const { entry, context } = this
    entry.read(cursor)
    const key = decodeKey(entry.buffer, entry.start, entry.end)
    // What a key does not tell apart: 0 and -0, Buffer and Uint8Array.
    if ((entry.flags & FLAG_INEXACT) !== 0 || key === 0 || (typeof key === 'object' && !(key instanceof Date))) {
      return fetch(context, entry.key(), this.index)
    }
    const document: Record<string, unknown> = {}
    let at = 0
    for (const name of this.names) {
      if (name === undefined) {
        at = skipKey(cursor.keyBuffer, at, cursor.keyLength)
      } else {
        document[name] = decodeKey(cursor.keyBuffer, at, cursor.keyLength)
        at = keyEnd()
      }
    }
    document[context.key] = key
    return document
  }

  close(): void {
    this.walk.close()
  }
}

/** Several plans one after the other, each document once. */
class UnionRows implements RowSource {
  document: object = {}
  private readonly seen = new Set<string>()
  private branch = -1
  private walk: RangeWalk | undefined
  private index: OpenIndex | undefined
  private entry: EntryReader | undefined

  constructor(
    private readonly branches: readonly AccessPlan[],
    private readonly matches: Matcher,
    private readonly context: RowContext,
  ) {}

  next(): boolean {
    for (;;) {
      const cursor = this.walk?.next()
      if (cursor === undefined) {
        if (++this.branch >= this.branches.length) return false
        this.begin(this.branches[this.branch])
      } else if (this.take(cursor) && this.matches(this.document)) {
        return true
      }
    }
  }

  private begin(plan: AccessPlan): void {
    this.index = plan.index
    this.entry = plan.index === undefined ? undefined : new EntryReader(plan.index)
    this.walk = new RangeWalk(this.context.reader, plan.index?.table ?? this.context.table, plan.ranges, plan.reverse)
  }

  /** Makes the cursor's document current, unless it has been given before. */
  private take(cursor: Cursor): boolean {
    const { context, entry, index } = this
    if (entry === undefined || index === undefined) {
      if (!isNew(this.seen, cursor.keyBuffer, 0, cursor.keyLength)) return false
      this.document = decodeDocument(cursor.buffer, cursor.valueStart, cursor.valueEnd, context.shapes)
      return true
    }
    entry.read(cursor)
    if (!isNew(this.seen, entry.buffer, entry.start, entry.end)) return false
    this.document = fetch(context, entry.key(), index)
    return true
  }

  close(): void {
    this.walk?.close()
    this.branch = this.branches.length
  }
}
