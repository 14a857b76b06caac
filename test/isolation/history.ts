/**
 * Histories of transactions on lists, and what is wrong with them. Every value appended is unique, so a list tells who
 * wrote before whom, and a read tells what it had seen and what not (Kingsbury and Alvaro, "Elle: Inferring Isolation
 * Anomalies from Experimental Observations", 2020).
 *
 * Edges from one committed transaction to another:
 * | edge | meaning |
 * |---|---|
 * | ww | appended right behind the other's value |
 * | wr | read a list that ends with the other's value |
 * | rw | read a list to which the other was the next to append |
 * | so | the same process did it before |
 *
 * Serializable: no cycle at all. Snapshot isolation: no cycle but those with two adjacent rw edges, which is to say that
 * (so | ww | wr) followed by at most one rw is acyclic (Cerone and Gotsman, "Analysing Snapshot Isolation", 2016).
 */

export type ListOperation =
  | { kind: 'append'; key: number; value: number }
  | { kind: 'read'; key: number; list: number[] }

export interface ListTransaction {
  process: number
  committed: boolean
  operations: ListOperation[]
}

export type EdgeKind = 'ww' | 'wr' | 'rw' | 'so'

interface Edge {
  to: number
  kind: EdgeKind
}

/** Faults of a history, in words. Empty: none. `final` is each key's list after all transactions. */
export function checkHistory(
  history: readonly ListTransaction[],
  final: ReadonlyMap<number, number[]>,
  isolation: 'serializable' | 'snapshot',
): string[] {
  const faults: string[] = []
  const writers = findWriters(history, faults)
  for (const [key, list] of final) checkFinal(history, writers, key, list, faults)
  history.forEach((transaction, index) => {
    if (transaction.committed) checkReads(transaction, index, final, faults)
  })
  if (faults.length > 0) return faults
  const edges = dependencies(history, writers, final)
  const cycle = isolation === 'serializable' ? findCycle(edges) : findCycle(withoutAdjacentRw(edges))
  if (cycle !== undefined) faults.push(describeCycle(history, edges, cycle))
  return faults
}

/** By value: index of the transaction that appended it. */
function findWriters(history: readonly ListTransaction[], faults: string[]): Map<number, number> {
  const writers = new Map<number, number>()
  history.forEach((transaction, index) => {
    for (const operation of transaction.operations) {
      if (operation.kind !== 'append') continue
      if (writers.has(operation.value)) faults.push(`the history appends ${operation.value} twice`)
      writers.set(operation.value, index)
    }
  })
  return writers
}

function checkFinal(
  history: readonly ListTransaction[],
  writers: ReadonlyMap<number, number>,
  key: number,
  list: readonly number[],
  faults: string[],
): void {
  if (new Set(list).size !== list.length) faults.push(`key ${key} holds a value twice`)
  for (const value of list) {
    const writer = writers.get(value)
    if (writer === undefined || history[writer]?.committed !== true)
      faults.push(`key ${key} holds ${value}, which nobody committed`)
  }
  const held = new Set(list)
  for (const { committed, operations } of history) {
    for (const operation of operations) {
      if (committed && operation.kind === 'append' && operation.key === key && !held.has(operation.value)) {
        faults.push(`key ${key} has lost ${operation.value}`)
      }
    }
  }
}

/** Every read is a prefix of the final list, then the transaction's own appends; and all reads of a key agree. */
function checkReads(
  transaction: ListTransaction,
  index: number,
  final: ReadonlyMap<number, number[]>,
  faults: string[],
): void {
  const own = new Map<number, number[]>()
  const seen = new Map<number, string>()
  for (const operation of transaction.operations) {
    const { key } = operation
    const mine = own.get(key) ?? []
    if (operation.kind === 'append') {
      own.set(key, [...mine, operation.value])
      continue
    }
    const outer = operation.list.slice(0, operation.list.length - mine.length)
    if (operation.list.slice(outer.length).join() !== mine.join())
      faults.push(`transaction ${index} does not see its own appends to ${key}`)
    const prefix = (final.get(key) ?? []).slice(0, outer.length)
    if (outer.join() !== prefix.join())
      faults.push(`transaction ${index} read ${outer.join()} in ${key}, which ends as ${prefix.join()}…`)
    const before = seen.get(key)
    if (before !== undefined && before !== outer.join())
      faults.push(`transaction ${index} read ${key} as ${before}, then as ${outer.join()}`)
    seen.set(key, outer.join())
  }
}

function dependencies(
  history: readonly ListTransaction[],
  writers: ReadonlyMap<number, number>,
  final: ReadonlyMap<number, number[]>,
): Edge[][] {
  const edges: Edge[][] = history.map(() => [])
  const add = (from: number | undefined, to: number | undefined, kind: EdgeKind): void => {
    if (from !== undefined && to !== undefined && from !== to) edges[from]?.push({ to, kind })
  }
  const before = new Map<number, number>()
  history.forEach(({ process, committed }, index) => {
    if (!committed) return
    add(before.get(process), index, 'so')
    before.set(process, index)
  })
  for (const list of final.values()) {
    for (let i = 1; i < list.length; i++) add(writers.get(list[i - 1] as number), writers.get(list[i] as number), 'ww')
  }
  history.forEach((transaction, index) => {
    if (!transaction.committed) return
    for (const [key, length] of outerReads(transaction)) {
      const list = final.get(key) ?? []
      if (length > 0) add(writers.get(list[length - 1] as number), index, 'wr')
      if (length < list.length) add(index, writers.get(list[length] as number), 'rw')
    }
  })
  return edges
}

/** By key: how much of what others wrote a transaction has seen. */
function outerReads(transaction: ListTransaction): Map<number, number> {
  const own = new Map<number, number>()
  const reads = new Map<number, number>()
  for (const operation of transaction.operations) {
    const mine = own.get(operation.key) ?? 0
    if (operation.kind === 'append') own.set(operation.key, mine + 1)
    else reads.set(operation.key, operation.list.length - mine)
  }
  return reads
}

/** (so | ww | wr) followed by at most one rw. */
function withoutAdjacentRw(edges: readonly Edge[][]): Edge[][] {
  return edges.map(from => {
    const reached: Edge[] = []
    for (const edge of from) {
      if (edge.kind === 'rw') continue
      reached.push(edge)
      for (const next of edges[edge.to] ?? []) if (next.kind === 'rw') reached.push(next)
    }
    return reached
  })
}

/** A cycle as a list of transactions, or undefined. Depth first, without recursion. */
export function findCycle(edges: readonly { to: number }[][]): number[] | undefined {
  const state = new Uint8Array(edges.length)
  for (let root = 0; root < edges.length; root++) {
    if (state[root] !== 0) continue
    const path: { node: number; next: number }[] = [{ node: root, next: 0 }]
    state[root] = 1
    while (path.length > 0) {
      const top = path[path.length - 1] as { node: number; next: number }
      const edge = edges[top.node]?.[top.next++]
      if (edge === undefined) {
        state[top.node] = 2
        path.pop()
      } else if (state[edge.to] === 1) {
        const nodes = path.map(({ node }) => node)
        return nodes.slice(nodes.indexOf(edge.to))
      } else if (state[edge.to] === 0) {
        state[edge.to] = 1
        path.push({ node: edge.to, next: 0 })
      }
    }
  }
  return undefined
}

function describeCycle(
  history: readonly ListTransaction[],
  edges: readonly Edge[][],
  cycle: readonly number[],
): string {
  const text = cycle.map((from, i) => {
    const to = cycle[(i + 1) % cycle.length] as number
    const kinds = (edges[from] ?? []).filter(edge => edge.to === to).map(edge => edge.kind)
    return `${from} ${JSON.stringify(history[from]?.operations)} -${kinds.join('/') || 'by way of another'}->`
  })
  return `a cycle: ${text.join('\n  ')} ${cycle[0]}`
}
