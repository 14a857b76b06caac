/**
 * A file per writer and importer: what it began and what was acknowledged to it. Each line is one synchronous write, so a
 * process that is killed has said everything that it knew.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Expectation } from './protocol.js'

const TAIL_BYTES = 512

export class Journal {
  readonly #fd: number

  constructor(directory: string, kind: Expectation['kind'], name: string) {
    this.#fd = openSync(join(directory, `${kind}-${name}`), 'a')
  }

  started(number: number): void {
    writeSync(this.#fd, `s${number}\n`)
  }

  acknowledged(number: number): void {
    writeSync(this.#fd, `a${number}\n`)
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Reads what a writer or importer has said so far. `none`: the number that stands for nothing. */
export function readJournal(directory: string, kind: Expectation['kind'], name: string): Expectation {
  const none = kind === 'writer' ? 0 : -1
  let acknowledged = none
  let started = none
  for (const line of lastLines(join(directory, `${kind}-${name}`))) {
    const number = Number(line.slice(1))
    if (line[0] === 's' && number > started) started = number
    if (line[0] === 'a' && number > acknowledged) acknowledged = number
  }
  return { kind, name, acknowledged, started }
}

/** Numbers only grow, so the last lines say it all; the first of them may be cut off and is left out. */
function lastLines(path: string): string[] {
  if (!existsSync(path)) return []
  const fd = openSync(path, 'r')
  try {
    const size = fstatSync(fd).size
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES))
    readSync(fd, tail, 0, tail.length, size - tail.length)
    const lines = tail.toString('latin1').split('\n')
    return size > TAIL_BYTES ? lines.slice(1) : lines
  } finally {
    closeSync(fd)
  }
}
