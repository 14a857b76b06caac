/** Jobs that write rows. */
import { rmSync } from 'node:fs'
import { KEY_BYTES, makeValues, Picks, randomKey, sequentialKey } from '../data.js'
import type { KeyValueStore, StoreKind } from '../stores/store.js'
import { type Job, Meter, repeat, repeatLong, type Task, warmUp } from './job.js'

/** Rows of a transaction in bulk. */
const BULK_ROWS = 1000
const IN_FLIGHT = 32
const BURST = 1000
const PREPARED_KEYS = 100_000
/** What the writer beside readers writes: this many rows a second, this many in each transaction. */
const PACE_ROWS_PER_SECOND = 10_000
const PACE_BATCH = 10

function everyKey(rows: number, keyOf: (row: number) => Buffer): Buffer[] {
  return Array.from({ length: rows }, (_, row) => keyOf(row))
}

async function writeAll(store: KeyValueStore, keys: readonly Buffer[], values: readonly Buffer[]): Promise<void> {
  for (let from = 0; from < keys.length; from += BULK_ROWS) {
    const written = store.writeMany(keys, values, from, Math.min(keys.length, from + BULK_ROWS))
    if (written instanceof Promise) await written
  }
}

/** Written elsewhere before the clock runs, for code to be compiled. */
const WARM_ROWS = 100_000

async function writeElsewhere(
  kind: StoreKind,
  task: Task,
  keys: readonly Buffer[],
  values: readonly Buffer[],
): Promise<void> {
  if (task.warmSeconds === 0) return
  const directory = `${task.directory}-warm`
  const store = await kind.openKeyValue({ ...task, directory })
  await writeAll(store, keys.slice(0, WARM_ROWS), values)
  await store.close()
  rmSync(directory, { recursive: true, force: true })
}

/** Writes all rows into an empty directory and waits until they are on disk. */
function bulk(keyOf: (row: number) => Buffer): Job {
  return async (kind, task, conductor) => {
    const keys = everyKey(task.rows, keyOf)
    const values = makeValues(task.valueBytes)
    await writeElsewhere(kind, task, keys, values)
    const store = await kind.openKeyValue(task)
    await conductor.ready()
    const meter = new Meter()
    await writeAll(store, keys, values)
    await store.settled()
    const outcome = meter.outcome(task.rows)
    await store.close()
    return outcome
  }
}

export const bulkRandom: Job = bulk(randomKey)
export const bulkSequential: Job = bulk(sequentialKey)

function keysToWrite({ rows, seed }: Task): Buffer[] {
  const picks = new Picks(seed, rows)
  return Array.from({ length: Math.min(PREPARED_KEYS, rows) }, () => randomKey(picks.next()))
}

/** One write after the other, each of them waited for. */
export const write: Job = async (kind, task, conductor) => {
  const keys = keysToWrite(task)
  const values = makeValues(task.valueBytes)
  const store = await kind.openKeyValue(task)
  await store.scan()
  const operate = (i: number): unknown => store.write(keys[i % keys.length]!, values[i % values.length]!)
  await warmUp(task, seconds => repeat(new Meter(), seconds, operate))
  await conductor.ready()
  const meter = new Meter()
  const outcome = meter.outcome(await repeat(meter, task.seconds, operate))
  await store.close()
  return outcome
}

/** Several writers, each waiting for its own writes only. */
export const writeInFlight: Job = async (kind, task, conductor) => {
  const keys = keysToWrite(task)
  const values = makeValues(task.valueBytes)
  const store = await kind.openKeyValue(task)
  await store.scan()
  const run = async (meter: Meter, seconds: number): Promise<number> => {
    const writers = Array.from({ length: IN_FLIGHT }, (_, writer) =>
      repeatLong(meter, seconds, i => {
        const which = i * IN_FLIGHT + writer
        return store.write(keys[which % keys.length]!, values[which % values.length]!)
      }),
    )
    return (await Promise.all(writers)).reduce((sum, each) => sum + each, 0)
  }
  await warmUp(task, seconds => run(new Meter(), seconds))
  await conductor.ready()
  const meter = new Meter()
  const outcome = meter.outcome(await run(meter, task.seconds))
  await store.close()
  return outcome
}

/** A thousand writes started one after the other, and then waited for. */
export const burst: Job = async (kind, task, conductor) => {
  const keys = keysToWrite(task)
  const values = makeValues(task.valueBytes)
  const store = await kind.openKeyValue(task)
  await store.scan()
  const operate = async (turn: number): Promise<void> => {
    let last: unknown
    for (let i = 0; i < BURST; i++) {
      const which = turn * BURST + i
      last = store.start(keys[which % keys.length]!, values[which % values.length]!)
    }
    if (last instanceof Promise) await last
  }
  await warmUp(task, async seconds => (await repeatLong(new Meter(), seconds, operate)) * BURST)
  await conductor.ready()
  const meter = new Meter()
  const outcome = meter.outcome((await repeatLong(meter, task.seconds, operate)) * BURST)
  await store.close()
  return outcome
}

export const readModifyWrite: Job = async (kind, task, conductor) => {
  const keys = keysToWrite(task)
  const store = await kind.openKeyValue(task)
  await store.scan()
  const operate = (i: number): unknown => store.readModifyWrite?.(keys[i % keys.length]!)
  await warmUp(task, seconds => repeat(new Meter(), seconds, operate))
  await conductor.ready()
  const meter = new Meter()
  const outcome = meter.outcome(await repeat(meter, task.seconds, operate))
  await store.close()
  return outcome
}

/** Writes at a steady pace until told to end. */
export const pacedWriter: Job = async (kind, task, conductor) => {
  const keys = keysToWrite(task)
  const values = makeValues(task.valueBytes)
  const store = await kind.openKeyValue(task)
  await conductor.ready()
  const start = performance.now()
  let written = 0
  while (!conductor.stopped) {
    const due = Math.min(
      ((performance.now() - start) / 1000) * PACE_ROWS_PER_SECOND,
      written + PACE_ROWS_PER_SECOND / 10,
    )
    while (written < due) {
      const from = written % (keys.length - PACE_BATCH)
      const some = store.writeMany(keys, values, from, from + PACE_BATCH)
      if (some instanceof Promise) await some
      written += PACE_BATCH
    }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  const value = (written / (performance.now() - start)) * 1000
  await store.close()
  return { value }
}

/** Bytes of log for each byte of keys and values, in transactions of one row and of fifty. */
function logBytes(batch: number): Job {
  return async (kind, task, conductor) => {
    const keys = keysToWrite(task)
    const values = makeValues(task.valueBytes)
    const store = await kind.openKeyValue(task)
    await conductor.ready()
    const before = store.logBytes?.() ?? 0
    const rows = Math.min(keys.length, 20_000)
    for (let from = 0; from < rows; from += batch) {
      const to = Math.min(from + batch, rows)
      if (batch === 1) await store.write(keys[from]!, values[from % values.length]!)
      else await store.writeMany(keys, values, from, to)
    }
    const value = ((store.logBytes?.() ?? 0) - before) / (rows * (KEY_BYTES + task.valueBytes))
    await store.close()
    return { value }
  }
}

export const logBytesSingly: Job = logBytes(1)
export const logBytesInFifties: Job = logBytes(50)
