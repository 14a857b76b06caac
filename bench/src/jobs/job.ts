/** One measurement, run in a process of its own: what it is told, and what it gives back. */
import type { StoreKind, StoreOptions } from '../stores/store.js'

/** Plain data: it travels to the process that does the job. */
export interface Task extends StoreOptions {
  readonly job: string
  readonly store: string
  /** Rows or documents in the data that the directory holds, or that are to be written. */
  readonly rows: number
  readonly valueBytes: number
  readonly seconds: number
  readonly warmSeconds: number
  readonly seed: number
}

export interface Outcome {
  /** In the workload's unit. */
  readonly value: number
  /** Anything else worth telling. */
  readonly extra?: Readonly<Record<string, number>>
}

/** What the job hears from the process that started it. */
export interface Conductor {
  /** Says that everything is prepared, and resolves when the measurement may begin. */
  ready(): Promise<void>
  /** Becomes true when a job without an end of its own should end. */
  readonly stopped: boolean
}

export type Job = (kind: StoreKind, task: Task, conductor: Conductor) => Promise<Outcome>

/** Operations between two looks at the clock. */
const SLICE = 64

/** Calls `operate` for so long; gives calls a second. */
export async function rate(seconds: number, operate: (count: number) => unknown): Promise<number> {
  const start = performance.now()
  const end = start + seconds * 1000
  let count = 0
  let now = start
  do {
    const slice = now === start ? 1 : SLICE
    for (let i = 0; i < slice; i++) {
      const result = operate(count++)
      if (result instanceof Promise) await result
      if (slice > 1 && (count & 7) === 0 && (now = performance.now()) >= end) break
    }
    now = performance.now()
  } while (now < end)
  return (count / (now - start)) * 1000
}

/** The same for calls that are never promises and short: nothing between them but the call. */
export function rateOfShort(seconds: number, operate: () => void): number {
  const start = performance.now()
  const end = start + seconds * 1000
  let count = 0
  let now = start
  do {
    for (let i = 0; i < SLICE; i++) operate()
    count += SLICE
    now = performance.now()
  } while (now < end)
  return (count / (now - start)) * 1000
}
