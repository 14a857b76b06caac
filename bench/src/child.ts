/**
 * The process of one measurement. Told its task, it prepares, says `ready`, waits for `go`, measures, and gives back the
 * outcome; then it ends by itself.
 */
import { jobNamed } from './jobs/index.js'
import type { Conductor, Outcome, Task } from './jobs/job.js'
import { storeKind } from './stores/index.js'

export type ToChild = { type: 'task'; task: Task } | { type: 'go' } | { type: 'stop' }
export type FromChild = { type: 'ready' } | { type: 'outcome'; outcome: Outcome } | { type: 'failed'; reason: string }

const send = (message: FromChild): void => void process.send?.(message)

let go: () => void = () => undefined
const mayGo = new Promise<void>(resolve => {
  go = resolve
})
let stopped = false

const conductor: Conductor = {
  ready() {
    send({ type: 'ready' })
    return mayGo
  },
  get stopped() {
    return stopped
  },
}

async function run(task: Task): Promise<void> {
  try {
    const outcome = await jobNamed(task.job)(storeKind(task.store), task, conductor)
    send({ type: 'outcome', outcome })
  } catch (error) {
    send({ type: 'failed', reason: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
  process.disconnect()
}

// The process that started us is gone: nobody wants the figure.
process.on('disconnect', () => process.exit())

process.on('message', (message: ToChild) => {
  if (message.type === 'task') void run(message.task)
  else if (message.type === 'go') go()
  else stopped = true
})
