/** `hypha stats`: whatever figures the database gives, as a tree for people or as JSON. */

import { describeTree } from '../describe-tree.js'
import { toJson } from '../json-values.js'
import { withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import type { StatsCommandOptions } from '../program.js'

export async function statsCommand(
  directory: string,
  options: StatsCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const output = new Output(process.stdout)
  await withDatabase(directory, { create: false }, async database => {
    for (;;) {
      const figures = database.stats()
      if (options.json === true) await output.line(toJson(figures))
      else await output.write(screen(describeTree(figures), options.watch === true))
      await output.flush()
      if (options.watch !== true || signal.aborted || !(await pause(options.every, signal))) return
    }
  })
}

function screen(text: string, isWatching: boolean): string {
  if (!isWatching) return text
  const time = new Date().toISOString().slice(11, 19)
  return process.stdout.isTTY ? `\x1b[H\x1b[2J${time}\n${text}` : `${time}\n${text}\n`
}

/** False when the pause was cut short. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return await new Promise(resolve => {
    const timer = setTimeout(() => done(true), ms)
    const cut = (): void => done(false)
    const done = (result: boolean): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', cut)
      process.stdout.off('error', cut)
      process.stdout.off('close', cut)
      resolve(result)
    }
    signal.addEventListener('abort', cut)
    process.stdout.on('error', cut)
    process.stdout.on('close', cut)
  })
}
