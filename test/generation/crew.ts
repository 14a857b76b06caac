/** The parent's side of the generation tests: processes over one directory. Nothing of them outlives a test. */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { expect } from 'vitest'
import type { Ask, MemberConfig, NamedFault, Outcome, Standing } from './protocol.js'

const PROGRAM = fileURLToPath(new URL('./member.js', import.meta.url))
const ANSWER_MS_MAX = 20_000
const SHARED_MEMORY = '/dev/shm'

/** So small that pages leave memory and the log changes segments within some hundred transactions. */
export const SMALL: InternalOptions = {
  pageSize: 4096,
  frames: 64,
  segmentBytes: 128 << 10,
  logRingBytes: 64 << 10,
  versionRingBytes: 64 << 10,
  checkpointBytes: 256 << 10,
  busyTimeoutMs: 3000,
}

export class Member {
  readonly exited: Promise<NodeJS.Signals | number | null>
  hasExited = false
  stderr = ''
  #next = 1
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  readonly ready: Promise<unknown>

  constructor(
    readonly child: ChildProcess,
    readonly config: MemberConfig,
  ) {
    this.ready = this.#answerTo(0, 'open')
    this.ready.catch(() => undefined)
    child.stderr?.on('data', (bytes: Buffer) => {
      this.stderr = (this.stderr + bytes.toString()).slice(-6000)
    })
    child.on('message', (reply: { id: number; value?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      if (reply.error === undefined) waiting?.resolve(reply.value)
      else waiting?.reject(new Error(`${config.name}: ${reply.error}`))
    })
    this.exited = new Promise(resolve => {
      child.once('exit', (code, signal) => {
        this.hasExited = true
        for (const { reject } of this.#waiting.values())
          reject(new Error(`${config.name} ended with ${signal ?? code}\n${this.stderr}`))
        resolve(signal ?? code)
      })
    })
  }

  get pid(): number {
    return this.child.pid as number
  }

  #answerTo(id: number, what: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.config.name} did not answer to '${what}'\n${this.stderr}`)),
        ANSWER_MS_MAX,
      )
      const done = (): void => clearTimeout(timer)
      this.#waiting.set(id, { resolve: value => (done(), resolve(value)), reject: error => (done(), reject(error)) })
    })
  }

  ask<T = undefined>(ask: Ask): Promise<T> {
    const id = this.#next++
    const answer = this.#answerTo(id, ask.type)
    answer.catch(() => undefined)
    if (!this.hasExited) this.child.send({ id, ask })
    return answer as Promise<T>
  }

  try(ask: Ask): Promise<Outcome> {
    return this.ask<Outcome>(ask)
  }

  standing(): Promise<Standing> {
    return this.ask<Standing>({ type: 'standing' })
  }

  arm(...faults: NamedFault[]): Promise<undefined> {
    return this.ask({ type: 'arm', faults })
  }

  /** Ends steady work; its errors have to be none. */
  async rest(): Promise<void> {
    expect(await this.ask<string[]>({ type: 'pause' })).toEqual([])
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.exited
  }

  async close(): Promise<void> {
    await this.ask({ type: 'close' })
    this.child.disconnect()
    await this.exited
  }

  /** Until all of its threads stand still. */
  async stopped(): Promise<void> {
    for (const until = performance.now() + 10_000; performance.now() < until; await pause(5)) {
      if (this.hasExited) break
      const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      if (stat.slice(stat.lastIndexOf(')') + 2).startsWith('T')) return
    }
    throw new Error(`${this.config.name} was not stopped\n${this.stderr}`)
  }

  continue(): void {
    this.child.kill('SIGCONT')
  }
}

export const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

export class Crew {
  readonly directory = mkdtempSync(join(tmpdir(), 'hypha-generation-'))
  readonly members: Member[] = []

  get database(): string {
    return join(this.directory, 'db')
  }

  start(name: string, options: InternalOptions = {}, fault = ''): Member {
    const journal = join(this.directory, `${name}.journal`)
    writeFileSync(journal, '', { flag: 'a' })
    const config: MemberConfig = {
      name,
      directory: this.database,
      options: { ...SMALL, ...options },
      journal,
      tolerated: [],
    }
    const child = fork(PROGRAM, [JSON.stringify(config)], {
      env: { ...process.env, HYPHA_FAULT: fault, HYPHA_CHECKS: '1' },
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      execArgv: [],
    })
    const member = new Member(child, config)
    this.members.push(member)
    return member
  }

  async open(name: string, options: InternalOptions = {}): Promise<Member> {
    const member = this.start(name, options)
    await member.ready
    return member
  }

  /** What verify and content say about everything that any member was told is committed. */
  async check(member: Member): Promise<void> {
    const journals = this.members.map(({ config }) => ({ name: config.name, path: config.journal }))
    expect(await member.ask<string[]>({ type: 'content', journals })).toEqual([])
    expect(await member.ask({ type: 'verify' })).toEqual([])
  }

  /** Names of the regions of this database in shared memory. */
  regions(prefix: string): string[] {
    const files = readdirSync(SHARED_MEMORY).filter(name => name.startsWith(prefix))
    return [...new Set(files.map(name => name.slice(0, name.indexOf('.'))))]
  }

  /** `hyphadb-` and the database's own digits. */
  static prefixOf(regionName: string): string {
    return basename(regionName).split('-').slice(0, 2).join('-')
  }

  removeNames(regionName: string): void {
    for (const name of readdirSync(SHARED_MEMORY))
      if (name.startsWith(`${basename(regionName)}.`)) unlinkSync(join(SHARED_MEMORY, name))
  }

  async end(): Promise<void> {
    for (const member of this.members) {
      if (member.hasExited) continue
      member.child.kill('SIGKILL')
      await member.exited
    }
    try {
      const name = readFileSync(join(this.database, 'region'), 'utf8').trim()
      for (const region of this.regions(Crew.prefixOf(name))) this.removeNames(region)
    } catch {
      // The last one to leave has removed it.
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}
