/**
 * The planner: which rows to read, in which order, and what is left to check.
 *
 * Candidates are the primary key and every ready index. For each, the tests on its fields become bounds as far as its
 * order allows: points on the leading fields, then at most one range. Several candidates with bounds race: their rows are
 * counted in step, and the first to come to its end wins; if none does within RACE_ROWS, the better shape wins (more fields
 * with points, a range, order, coverage). Without any bounds, an index is used when it saves a sort or covers the query.
 *
 * Invariants
 * 1. Every document that matches has an entry in the ranges of the plan; what the ranges do not guarantee is in `residual`.
 * 2. When documents may have several entries (index-entries.ts), bounds are only a hint: the whole filter is checked again,
 *    documents are told apart by key, and neither order nor coverage is taken from the index.
 */
import type { Reader, Table } from '../engine/api.js'
import { type ByteRange, boundsOf, extendRanges, type FieldBounds, MAX_POINTS } from './bounds.js'
import type { FilterNode, Test } from './filter.js'
import { FIRST_ENTRY, type OpenIndex } from './index-entries.js'
import type { KeyScratch } from './key-scratch.js'
import { TAG_BEYOND } from './keys.js'
import type { Path } from './paths.js'

/** Rows that each candidate may count to show that it reads few. */
const RACE_ROWS = 64

export interface SortField {
  readonly path: Path
  readonly descending: boolean
}

/** What is wanted. The same whenever the query runs. */
export interface PlanRequest {
  readonly filter: FilterNode
  /** Parts of the filter that all have to hold. */
  readonly parts: readonly FilterNode[]
  /** Those of them that test a field, by its path. */
  readonly tests: ReadonlyMap<string, readonly Test[]>
  readonly sort: readonly SortField[]
  /** Documents wanted, skipped ones included; Infinity for all. */
  readonly wanted: number
  /** Top-level fields that the result needs; undefined for whole documents. */
  readonly fields: readonly string[] | undefined
}

/** What there is to read from. */
export interface PlanContext {
  readonly reader: Reader
  /** Where to see whether an index holds several entries of a document: the reader itself, or a newer state. */
  readonly newer: Reader
  readonly latest: Reader
  /** Of the snapshot, when it was taken for this query. */
  readonly sequence: number | undefined
  readonly table: Table
  readonly keyPath: Path
  /** Those that are ready for this reader. */
  readonly indexes: readonly OpenIndex[]
  readonly scratch: KeyScratch
}

export interface AccessPlan {
  readonly kind: 'primary' | 'index' | 'scan'
  readonly index: OpenIndex | undefined
  readonly ranges: readonly ByteRange[]
  readonly reverse: boolean
  readonly residual: FilterNode
  /** The rows come in the order that was asked for. */
  readonly ordered: boolean
  readonly covered: boolean
  /** Each range is one primary key: its lower end. */
  readonly points: boolean
  /** Documents may turn up more than once. */
  readonly several: boolean
  readonly bounds: readonly FieldBounds[]
  /** Rows in the ranges, when the plan won by having few. */
  readonly estimate: number | undefined
}

export interface UnionPlan {
  readonly kind: 'union'
  readonly branches: readonly AccessPlan[]
  /** The whole filter: checked on every document. */
  readonly residual: FilterNode
  readonly ordered: false
}

export type Plan = AccessPlan | UnionPlan

/** A way to read, and the bounds that the filter gives it. */
interface Candidate {
  readonly index: OpenIndex | undefined
  readonly paths: readonly Path[]
  readonly several: boolean
  readonly fields: readonly FieldBounds[]
}

const EVERYTHING: ByteRange = { gte: new Uint8Array(0), lt: Uint8Array.of(TAG_BEYOND) }
const ALL_ENTRIES: ByteRange = { gte: FIRST_ENTRY, lt: Uint8Array.of(TAG_BEYOND) }
const NO_FIELDS: readonly FieldBounds[] = []
const NO_PREFIX: readonly Uint8Array[] = [new Uint8Array(0)]
const NOTHING_LEFT: FilterNode = { kind: 'and', nodes: [] }

export function planRequest(
  filter: FilterNode,
  sort: readonly SortField[],
  wanted: number,
  fields: readonly string[] | undefined,
): PlanRequest {
  const parts = conjuncts(filter)
  const tests = new Map<string, Test[]>()
  for (const part of parts) {
    if (part.kind !== 'field') continue
    const known = tests.get(part.path.text)
    if (known === undefined) tests.set(part.path.text, [part.test])
    else known.push(part.test)
  }
  return { filter, parts, tests, sort, wanted, fields }
}

function conjuncts(node: FilterNode): readonly FilterNode[] {
  if (node.kind !== 'and') return [node]
  return node.nodes.some(inner => inner.kind === 'and') ? node.nodes.flatMap(conjuncts) : node.nodes
}

export function planQuery(request: PlanRequest, context: PlanContext): Plan {
  const bounded = boundedCandidates(request, context)
  if (bounded.length === 1) return complete(bounded[0], request, context, undefined)
  if (bounded.length > 1) return choose(bounded, request, context)
  return planUnion(request, context) ?? planWithoutBounds(request, context)
}

function boundedCandidates(request: PlanRequest, context: PlanContext): Candidate[] {
  const candidates: Candidate[] = []
  if (request.tests.has(context.keyPath.text)) {
    const paths = [context.keyPath]
    const fields = boundFields(paths, request, context, true, false)
    if (fields.length > 0) candidates.push({ index: undefined, paths, several: false, fields })
  }
  for (const index of context.indexes) {
    if (!request.tests.has(index.paths[0].text)) continue
    const several = index.hasSeveral(context.newer, context.latest, context.sequence)
    const fields = boundFields(index.paths, request, context, false, several)
    if (fields.length === 0 || (index.definition.sparse && !fields.some(bounds => bounds.present))) continue
    candidates.push({ index, paths: index.paths, several, fields })
  }
  return candidates
}

/** Bounds on the leading fields: points, then one range, then no more. */
function boundFields(
  paths: readonly Path[],
  request: PlanRequest,
  context: PlanContext,
  isKey: boolean,
  several: boolean,
): FieldBounds[] {
  const fields: FieldBounds[] = []
  let combinations = 1
  for (const path of paths) {
    const tests = request.tests.get(path.text)
    const bounds = tests === undefined ? undefined : boundsOf(tests, { scratch: context.scratch, isKey, several })
    if (bounds === undefined) break
    combinations *= bounds.points?.length ?? 1
    if (combinations > MAX_POINTS) break
    fields.push(bounds)
    if (bounds.points === undefined) break
  }
  return fields
}

function complete(
  candidate: Candidate,
  request: PlanRequest,
  context: PlanContext,
  estimate: number | undefined,
): AccessPlan {
  const { index, fields, several } = candidate
  let ranges: ByteRange[] = [index === undefined ? EVERYTHING : ALL_ENTRIES]
  let prefixes = NO_PREFIX
  for (let i = 0; i < fields.length; i++) {
    ranges = extendRanges(prefixes, fields[i])
    if (i + 1 < fields.length) prefixes = ranges.map(range => range.gte)
  }
  const residual = several ? request.parts : residualOf(request.parts, fields)
  const direction = directionOf(candidate, request, context)
  return {
    kind: index !== undefined ? 'index' : fields.length > 0 ? 'primary' : 'scan',
    index,
    ranges,
    reverse: direction === 'backward',
    residual:
      residual.length === 0 ? NOTHING_LEFT : residual.length === 1 ? residual[0] : { kind: 'and', nodes: residual },
    ordered: direction !== undefined,
    points: index === undefined && fields.length > 0 && fields[0].points !== undefined,
    covered: isCovered(candidate, residual, request, context),
    several,
    bounds: fields,
    estimate,
  }
}

function residualOf(parts: readonly FilterNode[], fields: readonly FieldBounds[]): readonly FilterNode[] {
  if (fields.length === 0) return parts
  return parts.filter(part => part.kind !== 'field' || !fields.some(bounds => bounds.consumed.includes(part.test)))
}

/** From which end the rows come in the order that was asked for; undefined when they do from neither. */
function directionOf(
  candidate: Candidate,
  request: PlanRequest,
  context: PlanContext,
): 'forward' | 'backward' | undefined {
  if (request.sort.length === 0) return 'forward'
  if (candidate.several) return undefined
  // Behind an index's fields its entries are in the order of the document's key.
  const paths = candidate.index === undefined ? candidate.paths : [...candidate.paths, context.keyPath]
  return sortDirection(paths, candidate.fields, request.sort)
}

/**
 * A field with one point does not change the order and may be passed over, wherever it stands; nothing is left to order
 * once the whole key has been compared.
 */
function sortDirection(
  paths: readonly Path[],
  fields: readonly FieldBounds[],
  sort: readonly SortField[],
): 'forward' | 'backward' | undefined {
  const isFixed = (at: number): boolean => at < fields.length && fields[at].points?.length === 1
  let at = 0
  let descending: boolean | undefined
  for (const wanted of sort) {
    const place = paths.findIndex(path => path.text === wanted.path.text)
    if (place >= 0 && isFixed(place)) continue
    while (at < paths.length && at !== place && isFixed(at)) at++
    if (place < 0 || at !== place) return undefined
    if (descending !== undefined && descending !== wanted.descending) return undefined
    descending = wanted.descending
    at++
  }
  return descending === true ? 'backward' : 'forward'
}

/** Whether result, order and residual filter need nothing but top-level fields that the entry holds. */
function isCovered(
  candidate: Candidate,
  residual: readonly FilterNode[],
  request: PlanRequest,
  context: PlanContext,
): boolean {
  if (request.fields === undefined || candidate.index === undefined || candidate.several) return false
  const holds = (field: string): boolean =>
    field === context.keyPath.text || candidate.paths.some(path => path.field !== undefined && path.text === field)
  return (
    request.fields.every(holds) &&
    request.sort.every(field => holds(field.path.text)) &&
    residual.every(node => needsOnly(node, holds))
  )
}

function needsOnly(node: FilterNode, holds: (field: string) => boolean): boolean {
  return node.kind === 'field' ? holds(node.path.text) : node.nodes.every(inner => needsOnly(inner, holds))
}

function choose(candidates: readonly Candidate[], request: PlanRequest, context: PlanContext): AccessPlan {
  const plans = candidates
    .map(candidate => complete(candidate, request, context, undefined))
    .sort((a, b) => shapeScore(b, request) - shapeScore(a, request))
  const best = plans[0]
  return best.points || isSingleRow(best) ? best : race(plans, context)
}

function pointFields(plan: AccessPlan): number {
  return plan.bounds.filter(field => field.points?.length === 1).length
}

/** A unique index with a point on every field. */
function isSingleRow(plan: AccessPlan): boolean {
  return plan.index?.definition.unique === true && pointFields(plan) === plan.index.paths.length
}

function shapeScore(plan: AccessPlan, request: PlanRequest): number {
  const exact = pointFields(plan)
  const limited = request.wanted !== Number.POSITIVE_INFINITY
  return (
    (plan.points ? 1000 : 0) +
    (isSingleRow(plan) ? 500 : 0) +
    exact * 20 +
    (plan.bounds.length - exact) * 8 +
    (plan.ordered && request.sort.length > 0 ? (limited ? 30 : 4) : 0) +
    (plan.covered ? 10 : 0)
  )
}

/** Counts the candidates' rows in step in the newest state: only to compare them, so nothing is read on behalf of the query. */
function race(plans: readonly AccessPlan[], context: PlanContext): AccessPlan {
  const runners = plans.map(plan => ({ plan, rows: countingRows(plan, context) }))
  try {
    for (let row = 0; row < RACE_ROWS; row++) {
      for (const { plan, rows } of runners) if (rows.next().done) return { ...plan, estimate: row }
    }
    return plans[0]
  } finally {
    for (const { rows } of runners) rows.return()
  }
}

function* countingRows(plan: AccessPlan, context: PlanContext): Generator<void, void, undefined> {
  for (const range of plan.ranges) {
    const cursor = context.latest.range(plan.index?.table ?? context.table, { gte: range.gte, lt: range.lt })
    try {
      while (cursor.next()) yield
    } finally {
      cursor.close()
    }
  }
}

/** All documents: from the table, or through an index that saves the sort or holds all that is needed. */
function planWithoutBounds(request: PlanRequest, context: PlanContext): AccessPlan {
  const scan = complete(
    { index: undefined, paths: [context.keyPath], several: false, fields: NO_FIELDS },
    request,
    context,
    undefined,
  )
  if (request.fields === undefined && scan.ordered) return scan
  const plans: AccessPlan[] = []
  for (const index of context.indexes) {
    if (index.definition.sparse || index.hasSeveral(context.newer, context.latest, context.sequence)) continue
    plans.push(complete({ index, paths: index.paths, several: false, fields: NO_FIELDS }, request, context, undefined))
  }
  const covering = plans.find(plan => plan.covered && plan.ordered)
  if (covering !== undefined) return covering
  // Fetching every document through an index costs more than sorting them, unless only some are wanted.
  if (scan.ordered || request.wanted === Number.POSITIVE_INFINITY) return scan
  return plans.find(plan => plan.ordered) ?? scan
}

/** One $or whose every branch has bounds of its own: read them one after the other and drop what was seen. */
function planUnion(request: PlanRequest, context: PlanContext): UnionPlan | undefined {
  for (const part of request.parts) {
    if (part.kind !== 'or') continue
    const others = request.parts.filter(other => other !== part)
    const branches: AccessPlan[] = []
    for (const branch of part.nodes) {
      const filter: FilterNode = { kind: 'and', nodes: [branch, ...others] }
      const plan = planQuery(planRequest(filter, [], Number.POSITIVE_INFINITY, undefined), context)
      if (plan.kind === 'union') branches.push(...plan.branches)
      else if (plan.bounds.length > 0) branches.push(plan)
      else return undefined
    }
    return { kind: 'union', branches, residual: request.filter, ordered: false }
  }
  return undefined
}
