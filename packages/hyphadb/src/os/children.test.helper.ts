/**
 * For tests: other processes and threads that run a few lines against this library, and file systems small enough to
 * fill. Sources are module bodies; `load('os/futex.js')` imports from the library, `say(text)` answers with a line,
 * `heard()` waits for a line from the test.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Worker } from 'node:worker_threads'

const library = new URL('../', import.meta.url).href

const LINE_TIMEOUT_MS = 15_000

class Lines {
  #lines: string[] = []
  #wanted: ((line: string) => void) | undefined

  push(line: string): void {
    const wanted = this.#wanted
    this.#wanted = undefined
    if (wanted === undefined) this.#lines.push(line)
    else wanted(line)
  }

  next(): Promise<string> {
    const line = this.#lines.shift()
    if (line !== undefined) return Promise.resolve(line)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('No line from the other side')), LINE_TIMEOUT_MS)
      this.#wanted = text => {
        clearTimeout(timer)
        resolve(text)
      }
    })
  }
}

const PREAMBLE = `
const load = name => import(new URL(name, ${JSON.stringify(library)}))
`

const PROCESS_PREAMBLE = `
import { createInterface } from 'node:readline'
const say = text => process.stdout.write(text + '\\n')
let lines
const heard = async () => {
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  return (await lines.next()).value
}
`

const running = new Set<Child>()

/** For `afterEach`: nothing that a failed test started outlives it. */
export async function endChildren(): Promise<void> {
  await Promise.all([...running].map(child => child.kill()))
}

/** Another process. Everything it starts with is given as `args` in `process.argv.slice(1)`. */
export class Child {
  readonly process: ChildProcess
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  #lines = new Lines()

  constructor(source: string, ...args: string[]) {
    this.process = spawn(
      process.execPath,
      ['--input-type=module', '--eval', PREAMBLE + PROCESS_PREAMBLE + source, '--', ...args],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    createInterface({ input: this.process.stdout as NodeJS.ReadableStream }).on('line', line => this.#lines.push(line))
    running.add(this)
    this.exited = new Promise(resolve => {
      this.process.on('exit', (code, signal) => {
        running.delete(this)
        resolve({ code, signal })
      })
    })
  }

  get pid(): number {
    return this.process.pid ?? -1
  }

  next(): Promise<string> {
    return this.#lines.next()
  }

  tell(line: string): void {
    this.process.stdin?.write(`${line}\n`)
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.process.kill(signal)
    if (signal === 'SIGKILL') await this.exited
  }
}

const THREAD_PREAMBLE = `
const { parentPort, workerData } = require('node:worker_threads')
const say = text => parentPort.postMessage(text)
const heard = () => new Promise(resolve => parentPort.once('message', resolve))
`

/** Another thread of this process; `args` are `workerData`. */
export class Thread {
  readonly worker: Worker
  #lines = new Lines()

  constructor(source: string, ...args: string[]) {
    this.worker = new Worker(`${PREAMBLE}${THREAD_PREAMBLE}void (async () => {\n${source}\n})()`, {
      eval: true,
      workerData: args,
    })
    this.worker.on('message', (line: string) => this.#lines.push(line))
  }

  next(): Promise<string> {
    return this.#lines.next()
  }

  tell(line: string): void {
    this.worker.postMessage(line)
  }
}

/** A fresh directory that `using` removes. */
export class TemporaryDirectory implements Disposable {
  readonly path: string
  #mounted = false

  constructor(parent: string = tmpdir()) {
    this.path = mkdtempSync(join(parent, 'hypha-test-'))
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** A file system of its own with so many bytes, where this user may mount one; else undefined. */
  static small(bytes: number): TemporaryDirectory | undefined {
    const directory = new TemporaryDirectory()
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory.path], { stdio: 'ignore' })
    } catch {
      directory[Symbol.dispose]()
      return undefined
    }
    directory.#mounted = true
    mkdirSync(directory.path, { recursive: true })
    return directory
  }

  [Symbol.dispose](): void {
    if (this.#mounted) execFileSync('umount', ['--lazy', this.path], { stdio: 'ignore' })
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** True within `timeoutMs` if `condition` comes true. */
export async function eventually(condition: () => boolean, timeoutMs = 5000): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) return false
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  return true
}
