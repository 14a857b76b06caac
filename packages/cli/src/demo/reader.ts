/**
 * A process of the demonstration: queries while the others write, and measures how long it ever waits for an answer.
 *
 * What it sees must hold at every moment: a snapshot gives the same answers twice, an index and the documents agree, and
 * the balances add up to what they began with.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Database, Document } from '../database.js'
import { withDatabase } from '../open-database.js'
import { runChild } from './child.js'
import { ACCOUNTS, TOTAL_BALANCE, totalBalance } from './ledger.js'
import { onParent, tellParent } from './messages.js'
import { SALES } from './sales.js'

const TOWNS = ['LONDON', 'MANCHESTER', 'BRISTOL', 'LEEDS', 'YORK', 'BATH', 'TRURO', 'KENDAL']
const PAUSE_MS = 2
const MOST_INCONSISTENCIES = 20

class Stopwatch {
  queries = 0
  longestMs = 0
  longestAfterKillMs = 0
  isAfterKill = false

  time<T>(query: () => T): T {
    const started = performance.now()
    const answer = query()
    const taken = performance.now() - started
    this.queries++
    this.longestMs = Math.max(this.longestMs, taken)
    if (this.isAfterKill) this.longestAfterKillMs = Math.max(this.longestAfterKillMs, taken)
    return answer
  }
}

await runChild(async directory => {
  const stopwatch = new Stopwatch()
  const inconsistencies: string[] = []
  let isStopping = false
  onParent(message => {
    if (message.kind === 'stop') isStopping = true
    else stopwatch.isAfterKill = true
  })
  await withDatabase(directory, { create: false }, async database => {
    await tellParent({ kind: 'ready' })
    for (let round = 0; !isStopping; round++) {
      const problem = look(database, stopwatch, round)
      if (problem !== undefined && inconsistencies.length < MOST_INCONSISTENCIES) inconsistencies.push(problem)
      await pause(PAUSE_MS)
    }
  })
  await tellParent({
    kind: 'reader',
    queries: stopwatch.queries,
    longestStallMs: stopwatch.longestMs,
    longestStallAfterKillMs: stopwatch.longestAfterKillMs,
    inconsistencies,
  })
})

function look(database: Database, stopwatch: Stopwatch, round: number): string | undefined {
  const town = TOWNS[round % TOWNS.length] as string
  const snapshot = stopwatch.time(() => database.snapshot())
  try {
    const sales = snapshot.collection(SALES)
    const dearest = stopwatch.time(() => [...sales.find({ town }, { sort: { price: -1 }, limit: 5 })])
    for (const { id } of dearest) {
      const sale = stopwatch.time(() => sales.get(id))
      if (sale?.['town'] !== town)
        return `the index by town has ${String(id)} under ${town}, the document says ${String(sale?.['town'])}`
    }
    const again = stopwatch.time(() => [...sales.find({ town }, { sort: { price: -1 }, limit: 5 })])
    if (idsOf(again) !== idsOf(dearest)) return `a snapshot changed: ${idsOf(dearest)} became ${idsOf(again)}`
    const total = stopwatch.time(() => totalBalance(snapshot.collection(ACCOUNTS)))
    return total === TOTAL_BALANCE ? undefined : `the balances add up to ${total}, expected ${TOTAL_BALANCE}`
  } finally {
    snapshot.close()
  }
}

function idsOf(documents: readonly Document[]): string {
  return documents.map(document => String(document['id'])).join(' ')
}
