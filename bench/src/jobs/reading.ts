/** Jobs that read rows. */
import { Picks, randomKey, sequentialKey } from '../data.js'
import type { KeyValueStore } from '../stores/store.js'
import { type Job, Meter, repeatLong, repeatShort, type Task, warmUp } from './job.js'

/** Keys to ask for, made before the clock runs; asked for again and again when there are fewer than questions. */
const PREPARED_KEYS = 200_000

function keysToRead({ rows, seed }: Task, keyOf: (row: number) => Buffer): Buffer[] {
  const picks = new Picks(seed, rows)
  return Array.from({ length: Math.min(PREPARED_KEYS, rows) }, () => keyOf(picks.next()))
}

function getting(keyOf: (row: number) => Buffer, way: 'get' | 'borrow', load: boolean): Job {
  return async (kind, task, conductor) => {
    const keys = keysToRead(task, keyOf)
    const store = await kind.openKeyValue(task)
    if (load) await store.scan()
    let next = 0
    let bytes = 0
    const look = (read: (key: Buffer) => Uint8Array | undefined) => (): void => {
      const key = keys[next++] as Buffer
      if (next === keys.length) next = 0
      const value = read(key)
      if (value === undefined) throw new Error(`${kind.name} has lost the row ${key.toString()}`)
      bytes += value[0] as number
    }
    const operate = look(way === 'get' ? key => store.get(key) : key => store.borrow(key))
    await warmUp(task, seconds => repeatShort(new Meter(), seconds, operate))
    await conductor.ready()
    const meter = new Meter()
    const outcome = meter.outcome(repeatShort(meter, task.seconds, operate), { bytes })
    await store.close()
    return outcome
  }
}

export const get: Job = getting(randomKey, 'get', true)
export const borrow: Job = getting(randomKey, 'borrow', true)
/** Without reading everything first: it would not fit. */
export const getLarge: Job = getting(sequentialKey, 'get', false)

async function scanOnce(store: KeyValueStore, task: Task): Promise<void> {
  const rows = await store.scan()
  if (rows < task.rows) throw new Error(`A scan gave ${rows} of ${task.rows} rows`)
}

export const scan: Job = async (kind, task, conductor) => {
  const store = await kind.openKeyValue(task)
  await scanOnce(store, task)
  await scanOnce(store, task)
  await conductor.ready()
  const meter = new Meter()
  const outcome = meter.outcome((await repeatLong(meter, task.seconds, () => scanOnce(store, task))) * task.rows)
  await store.close()
  return outcome
}

/** Milliseconds until an open database has answered its first question; the question's part is told apart. */
export const openOnce: Job = async (kind, task, conductor) => {
  await conductor.ready()
  const start = performance.now()
  const store = await kind.openKeyValue(task)
  const opened = performance.now()
  store.get(sequentialKey(task.rows >> 1))
  const answered = performance.now()
  await store.close()
  return { value: opened - start, extra: { firstGetMs: answered - opened } }
}

/** Keeps the directory open until told to end. */
export const hold: Job = async (kind, task, conductor) => {
  const store = await kind.openKeyValue(task)
  store.get(sequentialKey(0))
  await conductor.ready()
  while (!conductor.stopped) await new Promise(resolve => setTimeout(resolve, 5))
  await store.close()
  return { value: 0 }
}
