/**
 * Rows that could not be imported: counted, and written to `<file>.rejected` as JSON lines of
 * `{ line, reason, text }`, with text cut to its first thousand characters.
 *
 * The file of an earlier run is removed at the start. When no file can be written at that place the rows go to stderr:
 * an import is not given up for that, and no row is dropped without a word.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { messageOf } from '../failure.js'

const TEXT_CHARACTERS = 1000
const BUFFER_CHARACTERS = 64 * 1024

export interface RejectedRow {
  readonly line: number
  readonly reason: string
}

export class RejectedRows {
  count = 0
  first: RejectedRow | undefined
  private descriptor: number | undefined
  private waiting = ''
  private isElsewhere = false

  constructor(readonly path: string) {
    try {
      rmSync(path, { force: true })
    } catch {
      // Whether the place can be written shows when there is something to write.
    }
  }

  add(line: number, reason: string, text: string): void {
    this.count++
    this.first ??= { line, reason }
    this.waiting += `${JSON.stringify({ line, reason, text: text.slice(0, TEXT_CHARACTERS) })}\n`
    if (this.waiting.length >= BUFFER_CHARACTERS) this.flush()
  }

  /** Where the rows are, for people. */
  get place(): string {
    return this.isElsewhere ? 'stderr' : this.path
  }

  close(): void {
    this.flush()
    if (this.descriptor !== undefined) closeSync(this.descriptor)
    this.descriptor = undefined
  }

  private flush(): void {
    if (this.waiting === '') return
    const text = this.waiting
    this.waiting = ''
    if (!this.isElsewhere) {
      try {
        this.descriptor ??= openSync(this.path, 'w')
        writeAll(this.descriptor, Buffer.from(text))
        return
      } catch (error) {
        this.isElsewhere = true
        process.stderr.write(`rejected rows cannot go to ${this.path} (${messageOf(error)}) and follow here\n`)
      }
    }
    process.stderr.write(text)
  }
}

function writeAll(descriptor: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written)
}
