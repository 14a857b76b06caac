/**
 * A query: filter and options, checked when it is made, planned and run each time that it is iterated. Every iteration
 * reads one point in time and closes itself, also when it is left early.
 */
import { HyphaError } from '../base/errors.js'
import type { Reader } from '../engine/api.js'
import { describeBounds } from './bounds.js'
import type { CollectionState } from './catalog.js'
import { type Filter, type FilterNode, parseFilter } from './filter.js'
import type { OpenIndex } from './index-entries.js'
import {
  type AccessPlan,
  type Plan,
  type PlanContext,
  type PlanRequest,
  planQuery,
  planRequest,
  type SortField,
} from './plan.js'
import { type FieldsOption, type Projection, parseProjection } from './projection.js'
import { openRows, type RowSource } from './rows.js'
import { parseSort, Sorter, type SortOption } from './sorting.js'
import type { DocumentContext } from './writer.js'

export interface FindOptions {
  /** `{ price: -1 }`: by price, the dearest first. */
  readonly sort?: SortOption
  readonly limit?: number
  readonly skip?: number
  /** Only these fields. */
  readonly fields?: FieldsOption
}

/** How a query would run. */
export interface Explanation {
  readonly plan: 'primary' | 'index' | 'scan' | 'union'
  readonly index?: string
  /** What is asked of each field that bounds the rows read. */
  readonly bounds?: Readonly<Record<string, string>>
  readonly ranges?: number
  readonly sort: 'none' | 'index' | 'memory'
  readonly covered: boolean
  /** Tests that are made on each row: field and operator. */
  readonly residual: readonly string[]
  /** Rows that the plan would read, when it won against others by having few. */
  readonly estimate?: number
  readonly branches?: readonly Explanation[]
}

/** A point in time to read at. */
export interface Scope {
  readonly reader: Reader
  /** The same or a later state (plan.ts). */
  readonly newer: Reader
  /** Of the snapshot, when it was taken for this query. */
  readonly sequence: number | undefined
  readonly state: CollectionState | undefined
  readonly indexes: readonly OpenIndex[]
  release(): void
}

export interface QuerySource {
  readonly context: DocumentContext
  readonly collection: string
  openScope(): Scope
}

/** An asynchronous iteration gives way to other work after so many milliseconds. */
const SLICE_MS = 4
/** The clock is looked at once in so many documents. */
const CLOCK_EVERY = 16

const forgotten = new FinalizationRegistry<() => void>(release => release())

function checkCount(value: unknown, name: string): number {
  if (typeof value !== 'number' || !(value >= 0) || (value !== Number.POSITIVE_INFINITY && !Number.isInteger(value))) {
    throw new HyphaError('HYPHA_INVALID', `${name} is a whole number from 0, not ${String(value)}`)
  }
  return value
}

export class Query<T> implements Iterable<T>, AsyncIterable<T> {
  private readonly filter: FilterNode
  private readonly sort: readonly SortField[]
  private readonly limit: number
  private readonly skip: number
  private readonly projection: Projection | undefined
  private request: PlanRequest | undefined

  /** @internal */
  constructor(
    private readonly source: QuerySource,
    filter: Filter | undefined,
    options: FindOptions = {},
  ) {
    for (const option of Object.keys(options)) {
      if (option !== 'sort' && option !== 'limit' && option !== 'skip' && option !== 'fields') {
        throw new HyphaError('HYPHA_INVALID', `Unknown option '${option}': find takes sort, limit, skip and fields`)
      }
    }
    this.filter = parseFilter(filter)
    this.sort = parseSort(options.sort)
    this.limit = options.limit === undefined ? Number.POSITIVE_INFINITY : checkCount(options.limit, 'limit')
    this.skip = options.skip === undefined ? 0 : checkCount(options.skip, 'skip')
    this.projection = parseProjection(options.fields)
  }

  [Symbol.iterator](): QueryIterator<T> {
    const scope = this.source.openScope()
    try {
      return new QueryIterator<T>(this.open(scope), scope, this.limit, this.projection)
    } catch (error) {
      scope.release()
      throw error
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const iterator = this[Symbol.iterator]()
    try {
      let since = performance.now()
      for (let count = 1; ; count++) {
        const result = iterator.next()
        if (result.done) return
        yield result.value
        if (count % CLOCK_EVERY === 0 && performance.now() - since > SLICE_MS) {
          await new Promise(resolve => setImmediate(resolve))
          since = performance.now()
        }
      }
    } finally {
      iterator.return()
    }
  }

  /** All documents of the result. */
  toArray(): T[] {
    const scope = this.source.openScope()
    try {
      return this.collect(this.open(scope))
    } finally {
      scope.release()
    }
  }

  private collect(rows: RowSource): T[] {
    const documents: T[] = []
    const { projection, limit } = this
    try {
      while (documents.length < limit && rows.next()) {
        documents.push((projection === undefined ? rows.document : projection.apply(rows.document)) as T)
      }
      return documents
    } finally {
      rows.close()
    }
  }

  /** The first document, or undefined. */
  first(): T | undefined {
    for (const document of this) return document
    return undefined
  }

  /** How many documents match, whatever limit and skip say. Counted in the index where it can be. */
  count(): number {
    const scope = this.source.openScope()
    try {
      if (scope.state === undefined) return 0
      const request = planRequest(this.filter, [], Number.POSITIVE_INFINITY, [])
      const plan = planQuery(request, planContext(this.source, scope, scope.state))
      if (plan.kind !== 'union' && isAnswered(plan)) return countRanges(plan, scope.reader, scope.state)
      return countRows(this.openPlan(plan, scope, scope.state))
    } finally {
      scope.release()
    }
  }

  explain(): Explanation {
    const scope = this.source.openScope()
    try {
      if (scope.state === undefined) return { plan: 'scan', sort: 'none', covered: false, residual: [] }
      return explainPlan(this.plan(scope, scope.state), this.sort.length > 0, scope.state.key)
    } finally {
      scope.release()
    }
  }

  private plan(scope: Scope, state: CollectionState): Plan {
    this.request ??= planRequest(this.filter, this.sort, this.skip + this.limit, this.projection?.needs)
    return planQuery(this.request, planContext(this.source, scope, state))
  }

  private openPlan(plan: Plan, scope: Scope, state: CollectionState): RowSource {
    return openRows(plan, {
      reader: scope.reader,
      table: state.table,
      collection: this.source.collection,
      key: state.key,
      shapes: this.source.context.shapes,
    })
  }

  /** Rows in their final order, those to skip already passed. */
  private open(scope: Scope): RowSource {
    if (scope.state === undefined || this.limit === 0) return EMPTY_ROWS
    const plan = this.plan(scope, scope.state)
    let rows = this.openPlan(plan, scope, scope.state)
    if (!plan.ordered && this.sort.length > 0) rows = this.sorted(rows, scope.state.key)
    for (let i = 0; i < this.skip; i++) if (!rows.next()) break
    return rows
  }

  private sorted(rows: RowSource, key: string): RowSource {
    const sorter = new Sorter(this.sort, key, this.skip + this.limit)
    try {
      while (rows.next()) sorter.add(rows.document)
    } finally {
      rows.close()
    }
    return new SortedRows(sorter.sorted())
  }
}

function planContext(source: QuerySource, scope: Scope, state: CollectionState): PlanContext {
  return {
    reader: scope.reader,
    newer: scope.newer,
    latest: source.context.engine.latest,
    sequence: scope.sequence,
    table: state.table,
    keyPath: state.keyPath,
    indexes: scope.indexes,
    scratch: source.context.scratch,
  }
}

function isAnswered(plan: AccessPlan): boolean {
  return !plan.several && !plan.points && plan.residual.kind === 'and' && plan.residual.nodes.length === 0
}

function countRanges(plan: AccessPlan, reader: Reader, state: CollectionState): number {
  const table = plan.index?.table ?? state.table
  return plan.ranges.reduce((sum, range) => sum + reader.count(table, { gte: range.gte, lt: range.lt }), 0)
}

function countRows(rows: RowSource): number {
  try {
    let count = 0
    while (rows.next()) count++
    return count
  } finally {
    rows.close()
  }
}

class SortedRows implements RowSource {
  document: object = {}
  private at = 0

  constructor(private readonly documents: readonly object[]) {}

  next(): boolean {
    if (this.at >= this.documents.length) return false
    this.document = this.documents[this.at++]
    return true
  }

  close(): void {
    this.at = this.documents.length
  }
}

const EMPTY_ROWS: RowSource = new SortedRows([])

/** Closes itself at the end, on `break`, on an error, by `using`, and when it is forgotten. */
export class QueryIterator<T> implements IterableIterator<T> {
  private left: number
  private open = true

  /** @internal */
  constructor(
    private readonly rows: RowSource,
    private readonly scope: Scope,
    limit: number,
    private readonly projection: Projection | undefined,
  ) {
    this.left = limit
    forgotten.register(this, () => scope.release(), this)
  }

  next(): IteratorResult<T, undefined> {
    if (!this.open) return { done: true, value: undefined }
    try {
      if (this.left > 0 && this.rows.next()) {
        this.left--
        const { document } = this.rows
        return { done: false, value: (this.projection === undefined ? document : this.projection.apply(document)) as T }
      }
    } catch (error) {
      this.close()
      throw error
    }
    this.close()
    return { done: true, value: undefined }
  }

  return(): IteratorResult<T, undefined> {
    this.close()
    return { done: true, value: undefined }
  }

  close(): void {
    if (!this.open) return
    this.open = false
    forgotten.unregister(this)
    this.rows.close()
    this.scope.release()
  }

  [Symbol.iterator](): this {
    return this
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function explainPlan(plan: Plan, sorted: boolean, key: string): Explanation {
  const sort = !sorted ? 'none' : plan.ordered ? 'index' : 'memory'
  const residual = describeFilter(plan.residual)
  if (plan.kind === 'union') {
    return {
      plan: 'union',
      sort,
      covered: false,
      residual,
      branches: plan.branches.map(branch => explainPlan(branch, false, key)),
    }
  }
  const bounded = plan.bounds.length > 0
  return {
    plan: plan.kind,
    ...(plan.index === undefined ? {} : { index: plan.index.name }),
    ...(!bounded ? {} : { bounds: boundsByPath(plan, key), ranges: plan.ranges.length }),
    sort,
    covered: plan.covered,
    residual,
    ...(plan.estimate === undefined ? {} : { estimate: plan.estimate }),
  }
}

function boundsByPath(plan: AccessPlan, key: string): Record<string, string> {
  const paths = plan.index === undefined ? [key] : plan.index.definition.on
  return Object.fromEntries(plan.bounds.map((field, i) => [paths[i], describeBounds(field)]))
}

function describeFilter(node: FilterNode): string[] {
  if (node.kind === 'field') return [`${node.path.text} ${node.test.kind}`]
  const inner = node.nodes.flatMap(describeFilter)
  return node.kind === 'and' || inner.length === 0 ? inner : [`${node.kind} (${inner.join(', ')})`]
}
