/** Jobs over documents. */
import { rmSync } from 'node:fs'
import { makeSale, Picks, type Sale, saleId, TOWNS, townName } from '../data.js'
import type { DocumentStore, StoreKind } from '../stores/store.js'
import { type Job, Meter, repeat, repeatShort, type Task, warmUp } from './job.js'

/** Documents of a transaction in bulk. */
const BULK_DOCUMENTS = 100
const PREPARED = 50_000

/** Written elsewhere before the clock runs, for code to be compiled. */
const WARM_DOCUMENTS = 15_000

async function writeAll(store: DocumentStore, batches: readonly Sale[][]): Promise<void> {
  for (const batch of batches) {
    const written = store.writeMany(batch)
    if (written instanceof Promise) await written
  }
}

async function writeElsewhere(kind: StoreKind, task: Task, batches: readonly Sale[][]): Promise<void> {
  if (task.warmSeconds === 0) return
  const directory = `${task.directory}-warm`
  const store = await kind.openDocuments({ ...task, directory })
  await writeAll(store, batches.slice(0, WARM_DOCUMENTS / BULK_DOCUMENTS))
  await store.close()
  rmSync(directory, { recursive: true, force: true })
}

export const bulkDocuments: Job = async (kind, task, conductor) => {
  const batches: Sale[][] = []
  for (let from = 0; from < task.rows; from += BULK_DOCUMENTS) {
    const size = Math.min(BULK_DOCUMENTS, task.rows - from)
    batches.push(Array.from({ length: size }, (_, i) => makeSale(from + i)))
  }
  await writeElsewhere(kind, task, batches)
  const store = await kind.openDocuments(task)
  await conductor.ready()
  const meter = new Meter()
  await writeAll(store, batches)
  await store.settled()
  const outcome = meter.outcome(task.rows)
  await store.close()
  return outcome
}

export const getDocument: Job = async (kind, task, conductor) => {
  const picks = new Picks(task.seed, task.rows)
  const ids = Array.from({ length: Math.min(PREPARED, task.rows) }, () => saleId(picks.next()))
  const store = await kind.openDocuments(task)
  for (const id of ids) store.get(id)
  let next = 0
  let sum = 0
  const operate = (): void => {
    const id = ids[next++] as string
    if (next === ids.length) next = 0
    const sale = store.get(id)
    if (sale === undefined) throw new Error(`${kind.name} has lost the document ${id}`)
    sum += sale.price
  }
  await warmUp(task, seconds => repeatShort(new Meter(), seconds, operate))
  await conductor.ready()
  const meter = new Meter()
  const outcome = meter.outcome(repeatShort(meter, task.seconds, operate), { sum })
  await store.close()
  return outcome
}

export const query: Job = async (kind, task, conductor) => {
  const picks = new Picks(task.seed, 2 ** 30)
  const questions = Array.from({ length: 5000 }, () => ({
    town: townName(picks.next() % TOWNS),
    from: 40_000 + (picks.next() % 800_000),
  }))
  const store = await kind.openDocuments(task)
  let found = 0
  let asked = 0
  const operate = (i: number): unknown => {
    const { town, from } = questions[i % questions.length]!
    asked++
    const result = store.cheapest(town, from)
    if (result instanceof Promise) return result.then(count => void (found += count))
    found += result
    return undefined
  }
  for (let i = 0; i < questions.length; i++) await operate(i)
  if (found === 0) throw new Error(`${kind.name} found nothing`)
  await warmUp(task, seconds => repeat(new Meter(), seconds, operate))
  await conductor.ready()
  found = asked = 0
  const meter = new Meter()
  const outcome = meter.outcome(await repeat(meter, task.seconds, operate), { documentsPerQuery: found / asked })
  await store.close()
  return outcome
}
