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
import { type BoundsContext, boundsOf, type ByteRange, extendRanges, type FieldBounds, MAX_POINTS } from './bounds.js'
import type { FilterNode, Test } from './filter.js'
import { FIRST_ENTRY, type OpenIndex } from './index-entries.js'
import { type KeyScratch, TAG_BEYOND } from './keys.js'
import { type Path, parsePath } from './paths.js'

/** Rows that each candidate may count to show that it reads few. */
const RACE_ROWS = 64

export interface SortField {
  readonly path: Path
  readonly descending: boolean
}

export interface PlanRequest {
  readonly filter: FilterNode
  readonly sort: readonly SortField[]
  /** Documents wanted, skipped ones included; Infinity for all. */
  readonly wanted: number
  /** Top-level fields that the result needs; undefined for whole documents. */
  readonly fields: readonly string[] | undefined
}

export interface PlanContext {
  readonly reader: Reader
  /** Where to see whether an index holds several entries of a document: the reader itself, or a newer state. */
  readonly newer: Reader
  readonly latest: Reader
  readonly table: Table
  readonly key: string
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
  readonly bounds: Readonly<Record<string, string>>
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

interface Candidate {
  readonly index: OpenIndex | undefined
  readonly paths: readonly Path[]
  readonly several: boolean
}

interface FieldTest {
  readonly path: Path
  readonly test: Test
  readonly node: FilterNode
}

const EVERYTHING: ByteRange = { gte: new Uint8Array(0), lt: Uint8Array.of(TAG_BEYOND) }
const ALL_ENTRIES: ByteRange = { gte: FIRST_ENTRY, lt: Uint8Array.of(TAG_BEYOND) }

/** The parts of a filter that all have to hold. */
function conjuncts(node: FilterNode): readonly FilterNode[] {
  return node.kind === 'and' ? node.nodes.flatMap(conjuncts) : [node]
}

export function planQuery(request: PlanRequest, context: PlanContext): Plan {
  const parts = conjuncts(request.filter)
  const candidates = candidatesOf(parts, request, context)
  const plans = candidates.map((candidate) => planCandidate(candidate, parts, request, context))
  const best = choose(plans, request, context)
  if (best.kind !== 'scan' && hasBounds(best)) return best
  const union = planUnion(parts, request, context)
  return union ?? best
}

/** The primary key, and the indexes that could help: their first field is asked for, or sorted by, or they may cover. */
function candidatesOf(parts: readonly FilterNode[], request: PlanRequest, context: PlanContext): Candidate[] {
  const asked = new Set(parts.map((part) => (part.kind === 'field' ? part.path.text : '')))
  const helpful = context.indexes.filter((index) => {
    const first = index.paths[0].text
    return asked.has(first) || request.fields !== undefined || request.sort.some((field) => field.path.text === first)
  })
  const primary: Candidate = { index: undefined, paths: [parsePath(context.key, 'The key')], several: false }
  return [
    primary,
    ...helpful.map((index) => ({ index, paths: index.paths, several: index.hasSeveral(context.newer, context.latest) })),
  ]
}

function hasBounds(plan: AccessPlan): boolean {
  return Object.keys(plan.bounds).length > 0
}

function planCandidate(candidate: Candidate, parts: readonly FilterNode[], request: PlanRequest, context: PlanContext): AccessPlan {
  const tests: FieldTest[] = parts.flatMap((node) => (node.kind === 'field' ? [{ path: node.path, test: node.test, node }] : []))
  const fields = boundFields(candidate, tests, context)
  let ranges: ByteRange[] = [candidate.index === undefined ? EVERYTHING : ALL_ENTRIES]
  let prefixes: readonly Uint8Array[] = [new Uint8Array(0)]
  for (const bounds of fields) {
    ranges = extendRanges(prefixes, bounds)
    prefixes = ranges.map((range) => range.gte)
  }
  const consumed = new Set<Test>(candidate.several ? [] : fields.flatMap((bounds) => bounds.consumed))
  const residual = parts.filter((node) => node.kind !== 'field' || !consumed.has(node.test))
  // Behind an index's fields its entries are in the order of the document's key.
  const orderedBy = candidate.index === undefined ? candidate.paths : [...candidate.paths, parsePath(context.key, 'The key')]
  const direction = candidate.several ? undefined : sortDirection(orderedBy, fields, request.sort)
  const residualNode: FilterNode = residual.length === 1 ? residual[0] : { kind: 'and', nodes: residual }
  const usable = candidate.index?.definition.sparse !== true || fields.some((bounds) => bounds.present)
  const bounds: Record<string, string> = {}
  fields.forEach((field, i) => {
    bounds[candidate.paths[i].text] = field.text
  })
  return {
    kind: candidate.index !== undefined && usable ? 'index' : fields.length > 0 && usable ? 'primary' : 'scan',
    index: usable ? candidate.index : undefined,
    ranges: usable ? ranges : [],
    reverse: direction === 'backward',
    residual: residualNode,
    ordered: request.sort.length === 0 || direction !== undefined,
    points: candidate.index === undefined && fields[0]?.points !== undefined,
    covered: candidate.index !== undefined && !candidate.several && isCovered(candidate, residual, request, context.key),
    several: candidate.several,
    bounds: usable ? bounds : {},
    estimate: undefined,
  }
}

/** Bounds on the leading fields: points, then one range, then no more. */
function boundFields(candidate: Candidate, tests: readonly FieldTest[], context: PlanContext): FieldBounds[] {
  const fields: FieldBounds[] = []
  let combinations = 1
  for (const path of candidate.paths) {
    const isKey = path.text === context.key
    const boundsContext: BoundsContext = { scratch: context.scratch, isKey: isKey && candidate.index === undefined, several: candidate.several }
    const bounds = boundsOf(
      tests.filter((each) => each.path.text === path.text).map((each) => each.test),
      boundsContext,
    )
    if (bounds === undefined) break
    combinations *= bounds.points?.length ?? 1
    if (combinations > MAX_POINTS) break
    fields.push(bounds)
    if (bounds.points === undefined) break
  }
  return fields
}

/**
 * Whether the rows come in the order asked for, and from which end. A field with one point does not change the order and
 * may be passed over, wherever it stands; nothing is left to order once the whole key has been compared.
 */
function sortDirection(
  paths: readonly Path[],
  fields: readonly FieldBounds[],
  sort: readonly SortField[],
): 'forward' | 'backward' | undefined {
  let at = 0
  let descending: boolean | undefined
  for (const wanted of sort) {
    const fixed = paths.findIndex((path) => path.text === wanted.path.text)
    if (fixed >= 0 && fields[fixed]?.points?.length === 1) continue
    while (at < paths.length && paths[at].text !== wanted.path.text && fields[at]?.points?.length === 1) at++
    if (at >= paths.length || paths[at].text !== wanted.path.text) return undefined
    if (descending !== undefined && descending !== wanted.descending) return undefined
    descending = wanted.descending
    at++
  }
  return descending === true ? 'backward' : 'forward'
}

/** Whether result and residual filter need nothing but top-level fields that the entry holds. */
function isCovered(candidate: Candidate, residual: readonly FilterNode[], request: PlanRequest, key: string): boolean {
  if (request.fields === undefined) return false
  const held = new Set([key, ...candidate.paths.filter((path) => path.field !== undefined).map((path) => path.text)])
  const sortHeld = request.sort.every((field) => held.has(field.path.text))
  return sortHeld && request.fields.every((field) => held.has(field)) && residual.every((node) => needsOnly(node, held))
}

function needsOnly(node: FilterNode, held: ReadonlySet<string>): boolean {
  return node.kind === 'field' ? held.has(node.path.text) : node.nodes.every((inner) => needsOnly(inner, held))
}

function choose(plans: readonly AccessPlan[], request: PlanRequest, context: PlanContext): AccessPlan {
  const bounded = plans.filter((plan) => plan.kind !== 'scan' && hasBounds(plan))
  if (bounded.length === 0) return chooseWithoutBounds(plans, request)
  const byShape = bounded.sort((a, b) => shapeScore(b, request) - shapeScore(a, request))
  if (byShape.length === 1 || byShape[0].points || isSingleRow(byShape[0])) return byShape[0]
  return race(byShape, context)
}

function chooseWithoutBounds(plans: readonly AccessPlan[], request: PlanRequest): AccessPlan {
  const scan = plans[0]
  const usable = plans.filter((plan) => plan.kind === 'index')
  const covering = usable.find((plan) => plan.covered && plan.ordered)
  if (covering !== undefined) return covering
  if (scan.ordered) return scan
  // Fetching every document through an index costs more than sorting them, unless only some are wanted.
  const ordering = usable.find((plan) => plan.ordered)
  return ordering !== undefined && request.wanted !== Number.POSITIVE_INFINITY ? ordering : scan
}

/** A unique index with a point on every field. */
function isSingleRow(plan: AccessPlan): boolean {
  return plan.index?.definition.unique === true && plan.ranges.length <= 1 && pointFields(plan) === plan.index.paths.length
}

function pointFields(plan: AccessPlan): number {
  return Object.values(plan.bounds).filter((text) => text.startsWith('=')).length
}

function shapeScore(plan: AccessPlan, request: PlanRequest): number {
  const fields = Object.keys(plan.bounds).length
  const exact = pointFields(plan)
  const limited = request.wanted !== Number.POSITIVE_INFINITY
  return (
    (plan.points ? 1000 : 0) +
    (isSingleRow(plan) ? 500 : 0) +
    exact * 20 +
    (fields - exact) * 8 +
    (plan.ordered && request.sort.length > 0 ? (limited ? 30 : 4) : 0) +
    (plan.covered ? 10 : 0)
  )
}

/** Counts the candidates' rows in step in the newest state: only to compare them, so nothing is read on behalf of the query. */
function race(plans: readonly AccessPlan[], context: PlanContext): AccessPlan {
  const runners = plans.map((plan) => ({ plan, rows: countingRows(plan, context) }))
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

/** One $or whose every branch has bounds of its own: read them one after the other and drop what was seen. */
function planUnion(parts: readonly FilterNode[], request: PlanRequest, context: PlanContext): UnionPlan | undefined {
  for (const part of parts) {
    if (part.kind !== 'or') continue
    const others = parts.filter((other) => other !== part)
    const branches: AccessPlan[] = []
    for (const branch of part.nodes) {
      const filter: FilterNode = { kind: 'and', nodes: [branch, ...others] }
      const plan = planQuery({ filter, sort: [], wanted: Number.POSITIVE_INFINITY, fields: undefined }, context)
      if (plan.kind === 'union') branches.push(...plan.branches)
      else if (plan.kind !== 'scan' && hasBounds(plan)) branches.push(plan)
      else return undefined
    }
    return { kind: 'union', branches, residual: request.filter, ordered: false }
  }
  return undefined
}
