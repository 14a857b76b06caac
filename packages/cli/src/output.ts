/**
 * Writes text to a stream at the pace of whoever reads it: small pieces are joined, and the writer waits while the
 * stream is full. A reader that goes away ends the command quietly.
 */
import type { Writable } from 'node:stream'
import { codeOf, OutputClosed } from './failure.js'

const PIECE_CHARACTERS = 32 * 1024

export class Output {
  private waiting = ''
  private failure: unknown

  constructor(private readonly stream: Writable) {
    stream.on('error', error => {
      this.failure ??=
        codeOf(error) === 'EPIPE' ? new OutputClosed('the reader of the output has gone', { cause: error }) : error
    })
  }

  /** Takes the text. A promise comes back when it is time to wait; await it before the next write. */
  write(text: string): Promise<void> | undefined {
    this.waiting += text
    return this.waiting.length < PIECE_CHARACTERS ? undefined : this.flush()
  }

  line(text: string): Promise<void> | undefined {
    return this.write(`${text}\n`)
  }

  /** Resolves when all that was written has been handed over to the system. */
  async flush(): Promise<void> {
    this.throwFailure()
    if (this.waiting === '') return
    const text = this.waiting
    this.waiting = ''
    if (!this.stream.write(text)) await this.drained()
    this.throwFailure()
  }

  /** Resolves when there is room again, or when there never will be. */
  private async drained(): Promise<void> {
    const { stream } = this
    await new Promise<void>(resolve => {
      const done = (): void => {
        for (const event of ['drain', 'error', 'close']) stream.off(event, done)
        resolve()
      }
      for (const event of ['drain', 'error', 'close']) stream.on(event, done)
    })
  }

  private throwFailure(): void {
    if (this.failure !== undefined) throw this.failure
    if (this.stream.destroyed) throw new OutputClosed('the output is closed')
  }
}
