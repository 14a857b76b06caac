/**
 * Errors: one class, one table of codes. A caller decides by `code` and `retriable`; the message is for people and says
 * what to do. The table is the source of docs/errors.md (a test compares them), so a code added here is documented there.
 */

interface ErrorKind {
  /** True when the same call may succeed if it is made again soon, with nothing changed in program or machine. */
  readonly retriable: boolean
  readonly description: string
}

function kind(retriable: boolean, description: string): ErrorKind {
  return { retriable, description }
}

/** Every code that the project throws, in alphabetical order. */
export const errorCodes = {
  HYPHA_ASSERTION: kind(
    false,
    'An internal rule was broken: a bug in HyphaDB. Please report it with message and stack.',
  ),
  HYPHA_BUSY: kind(
    true,
    'Another participant holds what is needed for longer than the time allowed; the message names its pid. Try again, or look at what that process is doing.',
  ),
  HYPHA_CLOSED: kind(
    false,
    'The database, snapshot, transaction or iterator has been closed. Open it again, or keep it open for as long as it is used.',
  ),
  HYPHA_CONFLICT: kind(
    true,
    'A transaction kept losing against others and was given up; nothing of it was written. Run it again, or make it smaller.',
  ),
  HYPHA_CORRUPT: kind(
    false,
    'Bytes on disk or in memory fail their checks; the message names file, offset and table. Run `hypha verify`, and restore from a backup.',
  ),
  HYPHA_DISK_FULL: kind(
    false,
    'The file system of the database has no room (or the quota is used up). Free some space; nothing acknowledged is lost.',
  ),
  HYPHA_DUPLICATE: kind(false, 'A row with this id, or with this value in a unique index, exists already.'),
  HYPHA_INVALID: kind(
    false,
    'An argument, option, document or call is not acceptable; the message says which and why.',
  ),
  HYPHA_IO: kind(
    false,
    'The operating system failed to read or write; the cause has its error number. Look at the disk and the system log.',
  ),
  HYPHA_NOT_FOUND: kind(
    false,
    'What was asked for does not exist: a directory, file, table, collection, index or row.',
  ),
  HYPHA_NO_MAJORITY: kind(
    true,
    'Too few members of the mesh could be reached to decide. Try again when more of them are connected.',
  ),
  HYPHA_NO_MEMORY: kind(
    false,
    'The operating system refused memory or address space. Lower `memory`, or raise the limits (ulimit -v, vm.max_map_count, the container).',
  ),
  HYPHA_ORDER_LOST: kind(
    false,
    'The order of an ordered collection cannot be continued from where this node stood (a gap, or another cluster). Bootstrap the node again.',
  ),
  HYPHA_OUTCOME_UNKNOWN: kind(
    false,
    'The transaction was handed over and the answer did not arrive: it may or may not have happened. Ask for its outcome by its id.',
  ),
  HYPHA_PERMISSION: kind(
    false,
    'The operating system denies access to a file or directory. Check its owner and mode, and the user that the process runs as.',
  ),
  HYPHA_POISONED: kind(
    false,
    'A write or sync of the log failed earlier, so nothing more is written. Mend the cause, then open the database again.',
  ),
  HYPHA_READ_ONLY: kind(false, 'The database, file system or snapshot can be read only, and this call would write.'),
  HYPHA_REGION_UNREACHABLE: kind(
    false,
    'Other processes have the database open, but their shared memory cannot be reached from here (often another container). Share /dev/shm with them, or close the database there.',
  ),
  HYPHA_SHM_FULL: kind(
    false,
    'Shared memory (/dev/shm) has no room for the region. Lower `memory`, or enlarge /dev/shm (docker run --shm-size=1g).',
  ),
  HYPHA_SNAPSHOT_TOO_OLD: kind(
    true,
    'The versions that a snapshot needs had to be given up to keep memory and disk bounded. Read again from a new snapshot.',
  ),
  HYPHA_TOO_MANY_FILES: kind(
    true,
    'The limit of open files is reached. Close files that are not needed, or raise it (ulimit -n, fs.file-max).',
  ),
  HYPHA_UNSUPPORTED: kind(
    false,
    'The platform, file system or kernel lacks what the database stands on (for example locks on NFS, FUSE or 9p). Use a local disk.',
  ),
  HYPHA_VERSION: kind(
    false,
    'The files or the shared region were written by an incompatible version of HyphaDB. Use that version, or export and import.',
  ),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorCodes

export interface HyphaErrorOptions {
  cause?: unknown
}

/**
 * The only error that the library throws on purpose.
 *
 * @example
 * ```ts
 * try { await sales.insert(doc) } catch (error) {
 *   if (error instanceof HyphaError && error.code === 'HYPHA_DUPLICATE') return false
 *   throw error
 * }
 * ```
 */
export class HyphaError extends Error {
  readonly code: ErrorCode
  readonly retriable: boolean

  constructor(code: ErrorCode, message: string, options?: HyphaErrorOptions) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retriable = errorCodes[code].retriable
  }
}
// On the prototype, as for built-in errors: shown in stacks, not listed as a field of each error.
Object.defineProperty(HyphaError.prototype, 'name', { value: 'HyphaError', configurable: true, writable: true })

export function isHyphaError(error: unknown, code?: ErrorCode): error is HyphaError {
  return error instanceof HyphaError && (code === undefined || error.code === code)
}

/** What ran out when the system says "no space": the disk, or the shared memory that also calls itself a file system. */
export type Medium = 'disk' | 'shared-memory'

/** Error numbers of Linux that are told apart. Names as in errno(3). */
const errnoNames: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  4: 'EINTR',
  5: 'EIO',
  6: 'ENXIO',
  9: 'EBADF',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  14: 'EFAULT',
  16: 'EBUSY',
  17: 'EEXIST',
  19: 'ENODEV',
  20: 'ENOTDIR',
  21: 'EISDIR',
  22: 'EINVAL',
  23: 'ENFILE',
  24: 'EMFILE',
  26: 'ETXTBSY',
  27: 'EFBIG',
  28: 'ENOSPC',
  29: 'ESPIPE',
  30: 'EROFS',
  32: 'EPIPE',
  36: 'ENAMETOOLONG',
  37: 'ENOLCK',
  38: 'ENOSYS',
  39: 'ENOTEMPTY',
  40: 'ELOOP',
  75: 'EOVERFLOW',
  95: 'EOPNOTSUPP',
  110: 'ETIMEDOUT',
  116: 'ESTALE',
  122: 'EDQUOT',
}

/** The name of an error number, for messages. */
export function errnoName(errno: number): string {
  return errnoNames[errno] ?? `errno ${errno}`
}

interface Mapped {
  readonly code: ErrorCode
  readonly advice: string
}

function mapErrnoName(name: string, medium: Medium): Mapped {
  switch (name) {
    case 'ENOSPC':
    case 'EDQUOT':
      if (medium === 'shared-memory') {
        return {
          code: 'HYPHA_SHM_FULL',
          advice: "shared memory is full: lower the option 'memory', or enlarge /dev/shm (docker run --shm-size=1g)",
        }
      }
      return { code: 'HYPHA_DISK_FULL', advice: 'the disk or its quota is full: free some space' }
    case 'EMFILE':
      return {
        code: 'HYPHA_TOO_MANY_FILES',
        advice: 'this process has too many open files: raise its limit (ulimit -n)',
      }
    case 'ENFILE':
      return { code: 'HYPHA_TOO_MANY_FILES', advice: 'the system has too many open files: raise fs.file-max' }
    case 'EACCES':
    case 'EPERM':
      return { code: 'HYPHA_PERMISSION', advice: 'permission denied: check owner and mode, and who runs this process' }
    case 'EROFS':
      return {
        code: 'HYPHA_READ_ONLY',
        advice: "the file system is read-only: open with 'readOnly: true', or remount it",
      }
    case 'ENOMEM':
      return { code: 'HYPHA_NO_MEMORY', advice: "memory was refused: lower the option 'memory', or raise the limits" }
    case 'ENOENT':
      return { code: 'HYPHA_NOT_FOUND', advice: 'no such file or directory' }
    case 'EEXIST':
      return { code: 'HYPHA_INVALID', advice: 'it exists already' }
    case 'ENOTEMPTY':
      return { code: 'HYPHA_INVALID', advice: 'the directory is not empty' }
    case 'EFBIG':
      return {
        code: medium === 'shared-memory' ? 'HYPHA_SHM_FULL' : 'HYPHA_DISK_FULL',
        advice: 'the largest size of a file is reached: raise its limit (ulimit -f)',
      }
    case 'ENOTDIR':
      return { code: 'HYPHA_INVALID', advice: 'a part of the path is not a directory' }
    case 'EISDIR':
      return { code: 'HYPHA_INVALID', advice: 'a directory stands where a file is expected' }
    case 'ENAMETOOLONG':
      return { code: 'HYPHA_INVALID', advice: 'the path is too long' }
    case 'ELOOP':
      return { code: 'HYPHA_INVALID', advice: 'the path has too many symbolic links' }
    case 'ENOSYS':
    case 'EOPNOTSUPP':
    case 'ENOTSUP':
    case 'ENOLCK':
      return { code: 'HYPHA_UNSUPPORTED', advice: 'the kernel or file system lacks this operation: use a local disk' }
    default:
      return { code: 'HYPHA_IO', advice: 'the operating system failed: look at the disk and the system log' }
  }
}

/**
 * Turns a failure of the operating system into a HyphaError. `failure` is an error number, or what node:fs threw;
 * `what` names the operation ("write the log"), `path` the file; `medium` decides what "no space" means.
 * An error that is one of ours already passes through unchanged.
 */
export function fromErrno(failure: unknown, what: string, path?: string, medium: Medium = 'disk'): HyphaError {
  if (failure instanceof HyphaError) return failure
  const name = nameOfFailure(failure)
  const where = path === undefined ? '' : ` ${path}`
  if (name === undefined)
    return new HyphaError('HYPHA_IO', `Cannot ${what}${where}: ${String(failure)}`, { cause: failure })
  const { code, advice } = mapErrnoName(name, medium)
  const cause = typeof failure === 'number' ? undefined : failure
  return new HyphaError(code, `Cannot ${what}${where}: ${advice} (${name})`, { cause })
}

function nameOfFailure(failure: unknown): string | undefined {
  if (typeof failure === 'number') return errnoName(failure)
  if (typeof failure === 'object' && failure !== null && 'code' in failure && typeof failure.code === 'string') {
    return failure.code
  }
  return undefined
}

/** The system's name ("ENOENT") of an error thrown by node:fs, or undefined when it is something else. */
export function systemErrorName(error: unknown): string | undefined {
  return error instanceof HyphaError ? undefined : nameOfFailure(error)
}
