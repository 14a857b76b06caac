/** The parent's side: processes over one directory, started, asked, killed, stopped. Nothing of it outlives a test. */
import { type ChildProcess, fork } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import type { MemberConfig, Reply, Request, Role, Subject } from './protocol.js'

const PROGRAM = fileURLToPath(new URL('./member.js', import.meta.url))
const ANSWER_MS_MAX = 15_000
const STDERR_MAX = 8000
const SHARED_MEMORY = '/dev/shm'

/** A pool, rings and segments so small that every mechanism is busy within a few hundred transactions. */
export const SMALL: InternalOptions = {
  pageSize: 4096,
  frames: 48,
  segmentBytes: 128 << 10,
  logRingBytes: 64 << 10,
  versionRingBytes: 64 << 10,
  checkpointBytes: 192 << 10,
  busyTimeoutMs: 10_000,
}

export interface MemberOptions {
  readonly care?: boolean
  readonly begin?: boolean
  readonly options?: InternalOptions
  /** HYPHA_FAULT: for points that are passed while the database is being opened. */
  readonly fault?: string
}

export class Died extends Error {}

export class Member {
  readonly ready: Promise<unknown>
  readonly exited: Promise<NodeJS.Signals | number | null>
  hasExited = false
  isReady = false
  stderr = ''
  #nextId = 1
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void; timer: NodeJS.Timeout | undefined }
  >()

  constructor(
    readonly child: ChildProcess,
    readonly config: MemberConfig,
  ) {
    this.ready = this.#answerTo(0, 'open')
    this.ready.then(
      () => {
        this.isReady = true
      },
      () => undefined,
    )
    child.stderr?.on('data', (bytes: Buffer) => {
      this.stderr = (this.stderr + bytes.toString()).slice(-STDERR_MAX)
    })
    child.on('message', (reply: Reply) => this.#take(reply))
    this.exited = new Promise(resolve => {
      child.once('exit', (code, signal) => {
        this.hasExited = true
        for (const { reject, timer } of this.#waiting.values()) {
          clearTimeout(timer)
          reject(new Died(`${config.name} ended with ${signal ?? code} before it answered\n${this.stderr}`))
        }
        this.#waiting.clear()
        resolve(signal ?? code)
      })
    })
  }

  get name(): string {
    return this.config.name
  }

  get pid(): number {
    return this.child.pid as number
  }

  #answerTo(id: number, what: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(
          new Error(
            `${this.config.name} (${this.config.role}) did not answer to '${what}' within ${ANSWER_MS_MAX} ms\n${this.stderr}`,
          ),
        )
      }, ANSWER_MS_MAX)
      this.#waiting.set(id, { resolve, reject, timer })
    })
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    if (waiting === undefined) return
    this.#waiting.delete(reply.id)
    clearTimeout(waiting.timer)
    if (reply.error === undefined) waiting.resolve(reply.value)
    else waiting.reject(new Error(`${this.config.name}: ${reply.error}`))
  }

  /** Sends a request. Rejects with `Died` when the process ends before it answers. */
  ask<T = unknown>(request: Request): Promise<T> {
    if (this.hasExited) return Promise.reject(new Died(`${this.name} has ended`))
    const id = this.#nextId++
    const answer = this.#answerTo(id, request.type)
    this.child.send({ ...request, id }, error => {
      if (error !== null) this.#take({ id, error: error.message })
    })
    return answer as Promise<T>
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.exited
  }

  async close(): Promise<void> {
    await this.ask({ type: 'close' })
    this.child.disconnect()
    await this.exited
  }

  /** State letter of the process: T when it is stopped. */
  get state(): string {
    try {
      const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1')
      return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
    } catch {
      return ''
    }
  }
}

export class Crew {
  readonly root: string
  readonly directory: string
  readonly journals: string
  readonly members = new Set<Member>()
  readonly subjects: Subject[] = []

  constructor(
    readonly seed: number,
    readonly options: InternalOptions = SMALL,
  ) {
    this.root = mkdtempSync(join(tmpdir(), 'hypha-crash-'))
    this.directory = join(this.root, 'db')
    this.journals = join(this.root, 'journals')
    mkdirSync(this.journals)
  }

  /** Starts a process; `await member.ready` waits until it has the database open. */
  start(name: string, role: Role, { care, begin, options, fault }: MemberOptions = {}): Member {
    const config: MemberConfig = {
      directory: this.directory,
      journals: this.journals,
      name,
      role,
      seed: this.seed,
      options: { ...this.options, ...options },
      ...(care === undefined ? {} : { care }),
      ...(begin === undefined ? {} : { begin }),
    }
    const child = fork(PROGRAM, [JSON.stringify(config)], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, NODE_OPTIONS: '', HYPHA_FAULT: fault ?? '', HYPHA_CHECKS: '1' },
    })
    const member = new Member(child, config)
    this.members.add(member)
    void member.exited.then(() => this.members.delete(member))
    this.#addSubject({ kind: 'writer', name })
    if (role === 'importer') this.#addSubject({ kind: 'importer', name })
    return member
  }

  #addSubject(subject: Subject): void {
    if (!this.subjects.some(({ kind, name }) => kind === subject.kind && name === subject.name))
      this.subjects.push(subject)
  }

  async open(name: string, role: Role, options: MemberOptions = {}): Promise<Member> {
    const member = this.start(name, role, options)
    await member.ready
    return member
  }

  /** Everything acknowledged is there, nothing is half there, and the database is whole. */
  async check(by: Member): Promise<void> {
    const problems = await by.ask<string[]>({ type: 'check', subjects: this.subjects })
    const faults = await by.ask<unknown[]>({ type: 'verify' })
    if (problems.length + faults.length === 0) return
    throw new Error(
      `${by.name} finds (seed ${this.seed}):\n${problems.join('\n')}\n${faults.map(fault => JSON.stringify(fault)).join('\n')}`,
    )
  }

  /** Names in /dev/shm that belong to this database, whatever generation. */
  sharedMemory(): string[] {
    const path = join(this.directory, 'region')
    if (existsSync(path)) this.#regionName = readFileSync(path, 'utf8').trim()
    // hyphadb-<database>-<generation>-<nonce>
    const prefix = this.#regionName.split('-').slice(0, 2).join('-')
    return prefix === '' ? [] : readdirSync(SHARED_MEMORY).filter(name => name.startsWith(`${prefix}-`))
  }

  #regionName = ''

  async end(): Promise<void> {
    await Promise.all([...this.members].map(member => member.kill()))
    for (const name of this.sharedMemory()) rmSync(join(SHARED_MEMORY, name), { force: true })
    rmSync(this.root, { recursive: true, force: true })
  }
}
