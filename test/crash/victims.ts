/** One process dies, or stops, at a named point of its work; another one has had the database open all along. */
import { Crew, type Member, SMALL } from './crew.js'
import { passagesBefore } from './points.js'
import type { ReadResult, TryWriteResult } from './protocol.js'

/** Longest that a survivor's operation may take when another process dies. */
export const STALL_MS_MAX = 2000
const REACH_MS_MAX = 15_000

const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

/** A survivor that lives through many deaths, with a snapshot that it holds all the while. */
export class Scene {
  crew!: Crew
  survivor!: Member
  longestMs = 0
  readonly reached = new Set<string>()
  #round = 0

  constructor(
    readonly seed: number,
    readonly busyTimeoutMs = 10_000,
  ) {}

  async open(): Promise<void> {
    this.crew = new Crew(this.seed + this.#round++, {
      ...SMALL,
      housekeeping: 'none',
      busyTimeoutMs: this.busyTimeoutMs,
    })
    this.survivor = await this.crew.open('survivor', 'writer')
    await this.survivor.ask({ type: 'write', transactions: 30, durability: 'none' })
    await this.survivor.ask({ type: 'hold' })
  }

  /** After a failure: what stands now is of no use to the next test. */
  async renew(): Promise<void> {
    await this.crew.end()
    await this.open()
  }

  /** Starts a writer that does everything there is to do, and waits until the point has been reached. */
  async victim(name: string, action: 'kill' | 'stop', variation = 0): Promise<Member> {
    const victim = await this.crew.open('victim', 'writer', { care: true })
    await this.strike(victim, name, action, variation)
    return victim
  }

  /** Lets a writer go on until it is killed or stopped at the point. */
  async strike(victim: Member, name: string, action: 'kill' | 'stop', variation = 0): Promise<void> {
    const count = passagesBefore(name, this.crew.seed + variation)
    // Most mini-transactions look at a page and leave it as it is: the point that matters is that of one that changes it.
    const after = /^mtr\.(edited|releasing|end)$/.test(name) ? { after: 'mtr.saved' } : {}
    await victim.ask({ type: 'arm', name, count, action, ...after })
    await victim.ask({ type: 'begin' }).catch(() => undefined)
    const deadline = performance.now() + REACH_MS_MAX
    const isThere = (): boolean => (action === 'kill' ? victim.hasExited : victim.state === 'T')
    while (!isThere()) {
      if (victim.hasExited)
        throw new Error(`the process at ${name} ended otherwise: ${await victim.exited}\n${victim.stderr}`)
      if (performance.now() > deadline) throw await this.#notReached(victim, name)
      await pause(2)
    }
    this.reached.add(name)
  }

  async #notReached(victim: Member, name: string): Promise<Error> {
    const progress = await victim.ask({ type: 'progress' })
    return new Error(`the workload did not reach ${name} (seed ${this.crew.seed}): ${JSON.stringify(progress)}`)
  }

  /** The survivor reads, writes and answers from its snapshot as if nothing had happened. */
  async goesOn(): Promise<void> {
    const read = await this.survivor.ask<ReadResult>({ type: 'read', milliseconds: 10 })
    if (read.errors.length > 0) throw new Error(`a reader failed: ${read.errors.join('\n')}`)
    const written = await this.survivor.ask<TryWriteResult>({ type: 'tryWrite' })
    if (!written.ok) throw new Error(`a write failed after ${written.milliseconds} ms: ${written.message}`)
    this.#note(Math.max(read.longestMs, written.milliseconds))
    if (!(await this.survivor.ask<boolean>({ type: 'held' }))) throw new Error('the held snapshot has changed')
    await this.survivor.ask({ type: 'write', transactions: 3, durability: 'commit' })
    await this.survivor.ask({ type: 'housekeep' })
    // A page that a death left neither clean nor writable would hold up every checkpoint from now on.
    await this.survivor.ask({ type: 'checkpoint' })
    await this.crew.check(this.survivor)
    if (!(await this.survivor.ask<boolean>({ type: 'held' }))) throw new Error('the held snapshot has changed')
  }

  #note(milliseconds: number): void {
    if (milliseconds > STALL_MS_MAX) throw new Error(`an operation took ${milliseconds} ms`)
    this.longestMs = Math.max(this.longestMs, milliseconds)
  }

  /** Everybody leaves in order; who opens next finds everything, and nothing stays behind in shared memory. */
  async finish(): Promise<void> {
    await this.survivor.ask({ type: 'checkpoint' })
    await this.survivor.close()
    const left = this.crew.sharedMemory()
    if (left.length > 0) throw new Error(`left in shared memory: ${left.join(', ')}`)
    const next = await this.crew.open('next', 'idle')
    await this.crew.check(next)
    await next.close()
    await this.crew.end()
  }
}
