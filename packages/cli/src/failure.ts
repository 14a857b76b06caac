/**
 * What can go wrong on a command line, as three kinds: wrong usage (exit 2), a failure with a code (exit 1), and a reader
 * of our output that went away (no failure at all: `hypha find … | head` ends quietly).
 */

/** The arguments make no sense. Printed with a pointer to the command's help. */
export class UsageFailure extends Error {
  override readonly name = 'UsageFailure'
}

/** Something that cannot be done, with one of the codes of the library. */
export class CodedFailure extends Error {
  override readonly name = 'CodedFailure'

  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Whoever read our output has closed it. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

/** The user pressed Ctrl-C, or a supervisor asked us to stop. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'

  constructor(readonly signal: NodeJS.Signals) {
    super(`stopped by ${signal}`)
  }
}

/** The code of any error: the library's, the operating system's, or `HYPHA_ASSERTION` for one that nobody foresaw. */
export function codeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code
  return 'HYPHA_ASSERTION'
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * Errors of the file system say what happened, but not what to do: this names the file and the remedy.
 */
export function fileFailure(error: unknown, path: string, doing: string): CodedFailure {
  const system = codeOf(error)
  const known: Record<string, [code: string, advice: string]> = {
    ENOENT: ['HYPHA_NOT_FOUND', 'there is no such file; check the path'],
    EISDIR: ['HYPHA_INVALID', 'it is a directory; name a file'],
    ENOTDIR: ['HYPHA_INVALID', 'part of the path is not a directory'],
    EACCES: ['HYPHA_PERMISSION', 'the permission is missing; change it or choose another place'],
    EPERM: ['HYPHA_PERMISSION', 'the permission is missing; change it or choose another place'],
    EROFS: ['HYPHA_READ_ONLY', 'the file system is read-only; choose another place'],
    ENOSPC: ['HYPHA_DISK_FULL', 'the disk is full; make room and run the command again'],
  }
  const [code, advice] = known[system] ?? ['HYPHA_IO', messageOf(error)]
  return new CodedFailure(code, `cannot ${doing} ${path}: ${advice}`, { cause: error })
}
