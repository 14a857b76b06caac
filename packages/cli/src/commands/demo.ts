/** `hypha demo`: runs the demonstration in a temporary directory and prints what came of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DemoResult, DemoRun } from '../demo/demo-run.js'
import { CodedFailure } from '../failure.js'
import { toJson } from '../json-values.js'
import { Output } from '../output.js'
import type { DemoCommandOptions } from '../program.js'
import { grouped, Progress } from '../progress.js'

export async function demoCommand(options: DemoCommandOptions, signal: AbortSignal): Promise<void> {
  const started = performance.now()
  const directory = await mkdtemp(join(tmpdir(), 'hypha-demo-'))
  const isQuiet = options.json === true
  let progress: Progress | undefined
  const run = new DemoRun(
    directory,
    options.rows,
    options.seed,
    {
      step: text => {
        progress?.end()
        if (!isQuiet) process.stderr.write(`${text}\n`)
      },
      progress: state => {
        progress ??= new Progress('import', isQuiet ? 'silent' : 'auto')
        progress.update(state)
      },
    },
    signal,
  )
  try {
    const result = await run.run()
    progress?.end()
    await report(result, options, (performance.now() - started) / 1000)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    progress?.end()
    await run.stop()
    if (options.keep === true) process.stderr.write(`left in ${directory}\n`)
    else await rm(directory, { recursive: true, force: true })
  }
}

async function report(result: DemoResult, options: DemoCommandOptions, seconds: number): Promise<void> {
  const failed = result.checks.filter(check => !check.ok)
  const output = new Output(process.stdout)
  if (options.json === true)
    await output.line(toJson({ ok: failed.length === 0, seconds: Number(seconds.toFixed(2)), ...result }))
  else await output.write(describe(result, seconds))
  await output.flush()
  if (failed.length > 0) {
    throw new CodedFailure(
      'HYPHA_CORRUPT',
      `${failed.length} of ${result.checks.length} checks failed; please report this with the output above`,
    )
  }
}

function describe(result: DemoResult, seconds: number): string {
  const stall = (pick: (index: number) => number): string =>
    result.readers.map((_, index) => `${pick(index).toFixed(1)} ms`).join(' and ')
  const figures: [string, string][] = [
    ['records imported', grouped(result.import.records)],
    ['records a second, with the others at work', grouped(result.import.recordsPerSecond)],
    ['queries answered meanwhile', grouped(result.readers.reduce((sum, reader) => sum + reader.queries, 0))],
    ['longest answer, reader by reader', stall(index => result.readers[index]?.longestStallMs ?? 0)],
    ['  of these after the kill', stall(index => result.readers[index]?.longestStallAfterKillMs ?? 0)],
    [
      'durable transfers, first and second writer',
      `${grouped(result.writer.acknowledged - result.writer.acknowledgedAfterKill)} and ${grouped(result.writer.acknowledgedAfterKill)}`,
    ],
    ['log bytes for each byte of the file, with two indexes', result.logBytesPerFileByte?.toFixed(2) ?? 'unknown'],
    ['seconds in all', seconds.toFixed(1)],
  ]
  const checks = result.checks.map((check): [string, string] => [
    `${check.ok ? 'ok    ' : 'FAILED'}  ${check.name}`,
    check.detail,
  ])
  const width = Math.max(...[...figures, ...checks].map(([name]) => name.length))
  const lines = (rows: readonly [string, string][]): string =>
    rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join('')
  return `\n${lines(figures)}\n${lines(checks)}`
}
