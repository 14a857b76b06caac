/**
 * Rounds of random violence: a crew of writers, readers and importers works on one database, and in each round one of
 * them is killed, stopped for a while, or ended in order, or all are killed at once. Whoever was not touched must go on,
 * and everything acknowledged must be there. Which process is the housekeeper's, nobody knows; it dies as often as others.
 */
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { Crew, Died, type Member, SMALL } from './crew.js'
import type { Progress, Role } from './protocol.js'

export interface RoundsResult {
  rounds: number
  killed: number
  stopped: number
  /** Times that all were killed at once. */
  wipedOut: number
  operations: number
  longestMs: number
  longest: string
}

export interface RoundsOptions {
  readonly seed: number
  /** Called before each round; false ends. */
  readonly goOn: (round: number) => boolean
  readonly options?: InternalOptions
  readonly checkEvery?: number
  readonly progress?: (result: RoundsResult) => void
}

export const STALL_MS_MAX = 2000
const CREW: readonly (readonly [string, Role])[] = [
  ['w1', 'writer'],
  ['w2', 'writer'],
  ['i1', 'importer'],
  ['r1', 'reader'],
  ['holder', 'idle'],
]
/** A silence this long is no stall but a standstill. */
const STANDSTILL_MS = 8000

const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

class Rounds {
  readonly random: SeededRandom
  readonly crew: Crew
  readonly members = new Map<string, Member>()
  readonly result: RoundsResult = {
    rounds: 0,
    killed: 0,
    stopped: 0,
    wipedOut: 0,
    operations: 0,
    longestMs: 0,
    longest: '',
  }
  /** Members whose operations cannot be blamed for being slow: they were stopped themselves. */
  readonly excused = new Set<Member>()
  readonly struck = new Set<Member>()

  constructor(readonly settings: RoundsOptions) {
    this.random = new SeededRandom(settings.seed)
    this.crew = new Crew(settings.seed, { ...SMALL, frames: 96, ...settings.options })
  }

  async run(): Promise<RoundsResult> {
    try {
      await Promise.all(this.#startMissing())
      for (let round = 0; this.settings.goOn(round); round++) {
        await pause(this.random.below(60))
        await this.#strike()
        await this.#othersGoOn()
        void Promise.all(this.#startMissing())
        if (this.#failure !== undefined) throw this.#failure
        this.result.rounds++
        if (round % (this.settings.checkEvery ?? 10) === 9) await this.#check()
        this.settings.progress?.(this.result)
      }
      await this.#endInOrder()
      return this.result
    } catch (error) {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      throw new Error(`round ${this.result.rounds} with seed ${this.settings.seed}: ${message}`)
    } finally {
      await this.crew.end()
    }
  }

  #failure: unknown

  /** Replaces those who are gone. Nobody waits for them: they may die again while they open. */
  #startMissing(): Promise<unknown>[] {
    return CREW.filter(([name]) => this.members.get(name)?.hasExited !== false).map(([name, role]) => {
      const member = this.crew.start(name, role, { begin: true })
      this.members.set(name, member)
      const ready = name === 'holder' ? member.ready.then(() => member.ask({ type: 'hold' })) : member.ready
      return ready.catch((error: unknown) => {
        if (!(error instanceof Died && this.struck.has(member))) this.#failure ??= error
      })
    })
  }

  #anyone(): Member {
    return this.random.pick([...this.members.values()])
  }

  async #kill(victims: Iterable<Member>): Promise<void> {
    for (const victim of victims) {
      this.struck.add(victim)
      victim.signal('SIGKILL')
      this.result.killed++
    }
    await Promise.all([...victims].map(victim => victim.exited))
  }

  async #strike(): Promise<void> {
    const dice = this.random.below(100)
    if (dice < 4) return this.#wipeOut()
    if (dice < 14) return this.#stopForAWhile()
    if (dice < 18) return this.#closeInOrder()
    const victims = new Set([this.#anyone()])
    if (dice < 28) victims.add(this.#anyone())
    await this.#kill(victims)
  }

  /** Everybody at once: the next one to open finds a region without participants. */
  async #wipeOut(): Promise<void> {
    await this.#kill([...this.members.values()])
    this.result.wipedOut++
  }

  async #stopForAWhile(): Promise<void> {
    const victim = this.#anyone()
    victim.signal('SIGSTOP')
    this.excused.add(victim)
    await pause(this.random.between(5, 150))
    // A stopped one may die as well.
    if (this.random.chance(0.3)) await this.#kill([victim])
    else victim.signal('SIGCONT')
    this.result.stopped++
  }

  async #closeInOrder(): Promise<void> {
    const victim = this.#anyone()
    await victim.ready
    await victim.close()
  }

  /** Each survivor ends an operation that it began after the blow. */
  async #othersGoOn(): Promise<void> {
    await Promise.all(
      [...this.members.values()]
        .filter(member => member.isReady && !member.hasExited)
        .map(member => this.#goesOn(member)),
    )
  }

  async #goesOn(member: Member): Promise<void> {
    const since = performance.now()
    const first = await member.ask<Progress>({ type: 'progress', reset: true })
    this.#note(member, first)
    if (member.config.role === 'idle') {
      if ((await member.ask<boolean | undefined>({ type: 'held' })) === false)
        throw new Error('the held snapshot has changed')
      return
    }
    for (;;) {
      const { operations } = await member.ask<Progress>({ type: 'progress' })
      if (operations > 0) return
      if (performance.now() - since > STANDSTILL_MS)
        throw new Error(`${member.name} (${member.config.role}) stands still\n${member.stderr}`)
      await pause(2)
    }
  }

  #note(member: Member, progress: Progress): void {
    if (progress.errors.length > 0) throw new Error(`${member.name} met with ${progress.errors.join('\n')}`)
    this.result.operations += progress.operations
    if (this.excused.delete(member)) return
    if (progress.longestMs <= this.result.longestMs) return
    this.result.longestMs = progress.longestMs
    this.result.longest = `${progress.longest} of ${member.name}`
  }

  async #check(): Promise<void> {
    const by = this.#anyone()
    await by.ready
    await this.crew.check(by)
  }

  async #endInOrder(): Promise<void> {
    await Promise.all(this.#startMissing())
    await Promise.all([...this.members.values()].map(member => member.ready))
    await this.#check()
    await Promise.all([...this.members.values()].map(member => member.close()))
    const left = this.crew.sharedMemory()
    if (left.length > 0) throw new Error(`left in shared memory: ${left.join(', ')}`)
    const last = await this.crew.open('last', 'idle')
    await this.crew.check(last)
    await last.close()
  }
}

export function runRounds(settings: RoundsOptions): Promise<RoundsResult> {
  return new Rounds(settings).run()
}
