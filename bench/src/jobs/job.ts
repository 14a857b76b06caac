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
  /** Processor time of one operation, in microseconds. */
  readonly cpuMicros?: number
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

/** Counts a stretch of time, by the clock and in processor time of the whole process, threads included. */
export class Meter {
  private readonly start = performance.now()
  private readonly cpu = process.cpuUsage()

  passed(seconds: number): boolean {
    return performance.now() - this.start >= seconds * 1000
  }

  /** Calls a second, and the processor time of each: the figure that other work on the machine hardly touches. */
  outcome(count: number, extra?: Readonly<Record<string, number>>): Outcome {
    const { user, system } = process.cpuUsage(this.cpu)
    return {
      value: (count / (performance.now() - this.start)) * 1000,
      cpuMicros: (user + system) / count,
      ...(extra === undefined ? {} : { extra }),
    }
  }
}

/** A warm-up of short calls does so many at least: compiled code is not a matter of time when the machine is busy. */
const WARM_CALLS = 30_000
/** But no warm-up lasts longer than this many times what was asked for. */
const WARM_PATIENCE = 8

/** Runs `some`, which gives the number of calls that it made, until the code may be taken for warm. */
export async function warmUp(task: Task, some: (seconds: number) => Promise<number> | number): Promise<void> {
  const meter = new Meter()
  for (let calls = 0; !meter.passed(task.warmSeconds) || calls < WARM_CALLS; ) {
    if (meter.passed(task.warmSeconds * WARM_PATIENCE)) return
    calls += await some(task.warmSeconds)
  }
}

/** Calls `operate` for so long; gives the number of calls. */
export async function repeat(meter: Meter, seconds: number, operate: (count: number) => unknown): Promise<number> {
  let count = 0
  do {
    const result = operate(count++)
    if (result instanceof Promise) await result
  } while ((count & 7) !== 0 || !meter.passed(seconds))
  return count
}

/** The same for long calls: the clock is looked at after each of them. */
export async function repeatLong(meter: Meter, seconds: number, operate: (count: number) => unknown): Promise<number> {
  let count = 0
  do {
    const result = operate(count++)
    if (result instanceof Promise) await result
  } while (!meter.passed(seconds))
  return count
}

/** The same for calls that are short and never promises: nothing between them but the call. */
export function repeatShort(meter: Meter, seconds: number, operate: () => void): number {
  let count = 0
  do {
    for (let i = 0; i < SLICE; i++) operate()
    count += SLICE
  } while (!meter.passed(seconds))
  return count
}
