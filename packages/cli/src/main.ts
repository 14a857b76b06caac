/**
 * The process `hypha`: runs the program and turns its end into an exit code.
 *
 * 0 done · 1 failed, with `code: message` on stderr · 2 wrong usage · 130 and 143 stopped by SIGINT and SIGTERM.
 */
import { CommanderError } from 'commander'
import { CodedFailure, codeOf, Interrupted, messageOf, OutputClosed, UsageFailure } from './failure.js'
import { buildProgram } from './program.js'

const SIGNAL_EXIT_CODES: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143 }

process.exitCode = await run(process.argv)

async function run(argv: readonly string[]): Promise<number> {
  const stop = stopOnSignals()
  try {
    await buildProgram(stop).parseAsync(argv)
    return 0
  } catch (error) {
    return exitCodeOf(error)
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof OutputClosed) return 0
  if (error instanceof Interrupted) return SIGNAL_EXIT_CODES[error.signal] ?? 1
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof UsageFailure) {
    process.stderr.write(`${messageOf(error)}\nTry hypha --help, or hypha <command> --help.\n`)
    return 2
  }
  process.stderr.write(`${codeOf(error)}: ${messageOf(error)}\n`)
  if (codeOf(error) === 'HYPHA_ASSERTION' && !(error instanceof CodedFailure) && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`)
  }
  return 1
}

/** The first signal asks the command to end in good order; the second ends it at once. */
function stopOnSignals(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(SIGNAL_EXIT_CODES[signal])
      controller.abort(new Interrupted(signal))
    })
  }
  return controller.signal
}
