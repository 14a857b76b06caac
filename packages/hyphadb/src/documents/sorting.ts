/** Sorting in memory: all documents, or with a limit only as many as are wanted, in a bounded heap. */
import { HyphaError } from '../base/errors.js'
import { compareValues } from './order.js'
import { leavesOf, parsePath, valueAt } from './paths.js'
import type { SortField } from './plan.js'

/** `{ price: -1, town: 1 }`: 1 ascending, -1 descending, the first field first. */
export type SortOption = { readonly [field: string]: 1 | -1 }

export function parseSort(sort: SortOption | undefined): SortField[] {
  if (sort === undefined) return []
  if (typeof sort !== 'object' || sort === null || Array.isArray(sort)) {
    throw new HyphaError('HYPHA_INVALID', 'sort is an object of fields and directions, such as { price: -1, town: 1 }')
  }
  return Object.entries(sort).map(([field, direction]) => {
    if (direction !== 1 && direction !== -1) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `The sort direction of '${field}' is 1 (ascending) or -1 (descending), not ${String(direction)}`,
      )
    }
    return { path: parsePath(field, 'The sort field'), descending: direction === -1 }
  })
}

interface Sortable {
  readonly document: object
  readonly values: readonly unknown[]
  readonly arrival: number
}

/** The value that a document is sorted by: of an array its least item, or its greatest when descending. */
function sortValue(document: object, field: SortField, key: string): unknown {
  if (field.path.text === key) return valueAt(document, field.path)
  const plain = field.path.field === undefined ? undefined : (document as Record<string, unknown>)[field.path.field]
  if (field.path.field !== undefined && !Array.isArray(plain)) return plain
  const leaves: unknown[] = []
  leavesOf(document, field.path, leaves)
  const values = leaves.flatMap(leaf => (Array.isArray(leaf) ? (leaf as unknown[]) : [leaf]))
  return values.reduce((best, value) => (compareValues(value, best) < 0 !== field.descending ? value : best), values[0])
}

function comparer(sort: readonly SortField[]): (a: Sortable, b: Sortable) => number {
  return (a, b) => {
    for (let i = 0; i < sort.length; i++) {
      const order = compareValues(a.values[i], b.values[i])
      if (order !== 0) return sort[i].descending ? -order : order
    }
    return a.arrival - b.arrival
  }
}

/** Takes documents in any order and gives the first `wanted` in the order asked for; equal ones stay in order of arrival. */
export class Sorter {
  private readonly items: Sortable[] = []
  private readonly compare: (a: Sortable, b: Sortable) => number
  private arrivals = 0

  constructor(
    private readonly sort: readonly SortField[],
    private readonly key: string,
    private readonly wanted: number,
  ) {
    this.compare = comparer(sort)
  }

  add(document: object): void {
    const item = { document, values: this.keysOf(document), arrival: this.arrivals++ }
    if (this.items.length < this.wanted) {
      this.items.push(item)
      if (this.wanted !== Number.POSITIVE_INFINITY) this.rise(this.items.length - 1)
    } else if (this.wanted > 0 && this.compare(item, this.items[0]) < 0) {
      this.items[0] = item
      this.sink(0)
    }
  }

  /** The values that decide a document's place. */
  keysOf(document: object): unknown[] {
    return this.sort.map(field => sortValue(document, field, this.key))
  }

  sorted(): object[] {
    return this.items.sort(this.compare).map(item => item.document)
  }

  /** The heap has the last of the wanted documents on top, for the next better one to replace. */
  private rise(from: number): void {
    const { items } = this
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1
      if (this.compare(items[at], items[parent]) <= 0) return
      this.swap(at, parent)
      at = parent
    }
  }

  private sink(from: number): void {
    const { items } = this
    for (let at = from; ; ) {
      let last = at
      for (const child of [at * 2 + 1, at * 2 + 2]) {
        if (child < items.length && this.compare(items[child], items[last]) > 0) last = child
      }
      if (last === at) return
      this.swap(at, last)
      at = last
    }
  }

  private swap(a: number, b: number): void {
    const item = this.items[a]
    this.items[a] = this.items[b]
    this.items[b] = item
  }
}
