/** The parent's handle on one process of the demonstration. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { CodedFailure } from '../failure.js'
import type { ChildMessage, ParentMessage } from './messages.js'

/** Longer than any step of the demonstration takes; a process that is silent for so long hangs. */
const PATIENCE_MS = 120_000

export type ChildKind = 'importer' | 'reader' | 'writer'

export class DemoChild {
  private readonly child: ChildProcess
  private readonly ended: Promise<void>
  private readonly waiting = new Map<ChildMessage['kind'], (message: ChildMessage) => void>()
  private readonly arrived = new Map<ChildMessage['kind'], ChildMessage>()
  private failure: CodedFailure | undefined
  private isKilled = false
  private rejectWaiting: (error: unknown) => void = () => undefined

  constructor(
    readonly name: string,
    kind: ChildKind,
    args: readonly string[],
    private readonly listen: (message: ChildMessage) => void = () => undefined,
  ) {
    const script = fileURLToPath(new URL(`./${kind}.js`, import.meta.url))
    this.child = fork(script, [...args], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.child.on('message', message => this.take(message as ChildMessage))
    this.ended = new Promise(resolve => {
      this.child.on('exit', (code, signal) => {
        if (!this.isKilled && (code !== 0 || signal !== null))
          this.failure ??= this.ending(signal ?? `code ${code ?? '?'}`)
        this.rejectWaiting(this.problem())
        resolve()
      })
    })
  }

  get pid(): number | undefined {
    return this.child.pid
  }

  /** The next message of a kind, or the one that has come already. */
  async next<K extends ChildMessage['kind']>(kind: K): Promise<Extract<ChildMessage, { kind: K }>> {
    const message = this.arrived.get(kind) ?? (await this.wait(kind))
    return message as Extract<ChildMessage, { kind: K }>
  }

  tell(message: ParentMessage): void {
    if (this.child.connected) this.child.send(message, () => undefined)
  }

  /** SIGKILL, as if the machine's memory had run out. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.isKilled = true
    this.child.kill('SIGKILL')
    await this.ended
  }

  /** Resolves when the process has ended by itself; throws if it failed. */
  async end(): Promise<void> {
    await this.ended
    if (this.failure !== undefined) throw this.problem()
  }

  private take(message: ChildMessage): void {
    if (message.kind === 'failed')
      this.failure = new CodedFailure(message.code, `the ${this.name} says: ${message.message}`)
    if (message.kind !== 'acknowledged' && message.kind !== 'progress') this.arrived.set(message.kind, message)
    this.listen(message)
    this.waiting.get(message.kind)?.(message)
    this.waiting.delete(message.kind)
  }

  private async wait(kind: ChildMessage['kind']): Promise<ChildMessage> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) throw this.problem()
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new CodedFailure('HYPHA_BUSY', `the ${this.name} did not say '${kind}' within ${PATIENCE_MS / 1000} s`),
          ),
        PATIENCE_MS,
      )
      this.rejectWaiting = error => {
        clearTimeout(timer)
        reject(error)
      }
      this.waiting.set(kind, message => {
        clearTimeout(timer)
        resolve(message)
      })
    })
  }

  private problem(): CodedFailure {
    return this.failure ?? this.ending('no word')
  }

  private ending(how: string): CodedFailure {
    return new CodedFailure('HYPHA_ASSERTION', `the ${this.name} ended with ${how} before its time`)
  }
}
