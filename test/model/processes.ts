/**
 * Other processes of a test: plain Node on a compiled file, which gets one JSON argument and answers with messages. What a
 * child prints on stderr and how it ended stands in the error.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const running = new Set<ChildProcess>()

/** For `afterEach`: nothing that a failed test started outlives it. */
export function endChildren(): void {
  for (const child of running) child.kill('SIGKILL')
}

export class Peer<Message = unknown> {
  readonly process: ChildProcess
  /** Resolves when the process has ended well; rejects with what it said when not. */
  readonly ended: Promise<void>
  readonly #messages: Message[] = []
  #wanted: ((message: Message) => void) | undefined
  #errors = ''

  constructor(script: string, argument: unknown) {
    const child = fork(fileURLToPath(script), [JSON.stringify(argument)], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    this.process = child
    running.add(child)
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-8000)
    })
    child.on('message', message => {
      const wanted = this.#wanted
      this.#wanted = undefined
      if (wanted === undefined) this.#messages.push(message as Message)
      else wanted(message as Message)
    })
    this.ended = new Promise((resolve, reject) => {
      child.on('close', (code, signal) => {
        running.delete(child)
        if (code === 0) resolve()
        else reject(new Error(`A process ended with ${signal ?? code}: ${this.#errors}`))
      })
    })
    this.ended.catch(() => undefined)
  }

  tell(message: unknown): void {
    this.process.send(message as object)
  }

  /** The next message; rejects when the process ends without one. */
  next(): Promise<Message> {
    const waiting = this.#messages.shift()
    if (waiting !== undefined) return Promise.resolve(waiting)
    return new Promise((resolve, reject) => {
      this.#wanted = resolve
      this.ended.then(() => reject(new Error(`A process ended without an answer. ${this.#errors}`)), reject)
    })
  }
}

/** In the child: its argument. */
export function argument<T>(): T {
  return JSON.parse(process.argv[2] ?? 'null') as T
}

/** In the child: messages from the test, one at a time. */
export function listen<T>(): () => Promise<T> {
  const waiting: T[] = []
  let wanted: ((message: T) => void) | undefined
  process.on('message', message => {
    const resolve = wanted
    wanted = undefined
    if (resolve === undefined) waiting.push(message as T)
    else resolve(message as T)
  })
  return () => {
    const message = waiting.shift()
    return message !== undefined ? Promise.resolve(message) : new Promise(resolve => (wanted = resolve))
  }
}

/** In the child: a message to the test; resolves when it is on its way, so that leaving right after does not lose it. */
export function report(message: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send?.(message as object, (error: Error | null) => (error === null ? resolve() : reject(error)))
  })
}

/** Runs the work of a child to its end; a failure is printed for the test to show. */
export function runPeer(work: () => Promise<void>): void {
  work().then(
    () => {
      process.disconnect()
    },
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? describeError(error) : String(error)}\n`, () => process.exit(1))
    },
  )
}

export function describeError(error: Error): string {
  const code = 'code' in error ? `[${String(error.code)}] ` : ''
  const cause = error.cause instanceof Error ? `\ncaused by ${describeError(error.cause)}` : ''
  return `${code}${error.stack ?? error.message}${cause}`
}

/** A directory for one test, removed afterwards unless it failed. */
export async function inTemporaryDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'hyphadb-model-'))
  try {
    await work(directory)
  } finally {
    endChildren()
    rmSync(directory, { recursive: true, force: true })
  }
}
