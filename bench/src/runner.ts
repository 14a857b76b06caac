/** Starts the processes of a measurement, lets them begin together, and collects what they measured. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { FromChild, ToChild } from './child.js'
import type { Outcome, Task } from './jobs/job.js'
import type { MemoryLimit } from './memory-limit.js'

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))

const alive = new Set<ChildProcess>()

/** Ends all measuring processes; resolves when they are gone. */
export async function endAll(): Promise<void> {
  const ends = [...alive].map(child => new Promise(resolve => child.once('exit', resolve)))
  for (const child of alive) child.kill('SIGKILL')
  await Promise.all(ends)
}

/** A measuring process, from its start to its outcome. */
class Measuring {
  readonly ready: Promise<void>
  readonly outcome: Promise<Outcome>
  private readonly child: ChildProcess
  private readonly timer: NodeJS.Timeout

  constructor(task: Task, timeoutMs: number, limit: MemoryLimit | undefined, execArgv: readonly string[]) {
    this.child = fork(CHILD, [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [...execArgv] })
    alive.add(this.child)
    this.timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs)
    let isReady: () => void = () => undefined
    let isOver: (error: Error) => void = () => undefined
    this.ready = new Promise((resolve, reject) => {
      isReady = resolve
      isOver = reject
    })
    this.outcome = new Promise((resolve, reject) => {
      let outcome: Outcome | undefined
      let reason = `took longer than ${timeoutMs / 1000} s, or was killed`
      this.child.on('message', (message: FromChild) => {
        if (message.type === 'ready') isReady()
        else if (message.type === 'outcome') outcome = message.outcome
        else reason = message.reason
      })
      this.child.on('exit', () => {
        clearTimeout(this.timer)
        alive.delete(this.child)
        if (outcome !== undefined) return resolve(outcome)
        const error = new Error(`${task.store}, ${task.job}: ${reason}`)
        isOver(error)
        reject(error)
      })
    })
    // Both reject together; whoever waits for one should not be surprised by the other.
    this.ready.catch(() => undefined)
    this.outcome.catch(() => undefined)
    if (limit !== undefined && this.child.pid !== undefined) limit.add(this.child.pid)
    this.tell({ type: 'task', task })
  }

  tell(message: ToChild): void {
    if (this.child.connected) this.child.send(message)
  }

  abandon(): void {
    this.child.kill('SIGKILL')
  }
}

export interface RunOptions {
  readonly timeoutMs: number
  /** Processes that work in the background meanwhile. */
  readonly beside?: readonly Task[]
  readonly limit?: MemoryLimit
  readonly execArgv?: readonly string[]
}

/** Runs tasks side by side; those beside them first and until they are done. Outcomes in the order of the tasks. */
export async function runTogether(tasks: readonly Task[], options: RunOptions): Promise<Outcome[]> {
  const start = (task: Task): Measuring => new Measuring(task, options.timeoutMs, options.limit, options.execArgv ?? [])
  const beside = (options.beside ?? []).map(start)
  const running = [...beside]
  try {
    await Promise.all(beside.map(each => each.ready))
    for (const each of beside) each.tell({ type: 'go' })
    const measuring = tasks.map(start)
    running.push(...measuring)
    await Promise.all(measuring.map(each => each.ready))
    for (const each of measuring) each.tell({ type: 'go' })
    const outcomes = await Promise.all(measuring.map(each => each.outcome))
    for (const each of beside) each.tell({ type: 'stop' })
    await Promise.all(beside.map(each => each.outcome))
    return outcomes
  } catch (error) {
    for (const each of running) each.abandon()
    throw error
  }
}
