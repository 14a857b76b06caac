/**
 * Assertions: what must hold whatever the input was. A failure is a bug of ours, never the caller's.
 * Messages are static, so that a passing assertion costs one comparison and builds nothing.
 */
import { HyphaError } from './errors.js'

export class AssertionError extends HyphaError {
  constructor(message: string) {
    super('HYPHA_ASSERTION', `Broken invariant: ${message}. This is a bug in HyphaDB, please report it`)
  }
}
Object.defineProperty(AssertionError.prototype, 'name', { value: 'AssertionError', configurable: true, writable: true })

/** Kept out of line so that `assert` stays small enough for V8 to inline. */
function fail(message: string): never {
  throw new AssertionError(message)
}

/** Throws unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) fail(message)
}

/** Marks what cannot be reached; with a `never` argument, the compiler checks that a switch is complete. */
export function unreachable(message: string, _value?: never): never {
  fail(message)
}

/**
 * True when checks that cost more than a comparison are wanted (walking a page after an edit, comparing a cache with
 * its source). Tests set HYPHA_CHECKS=1; child processes and workers inherit it.
 */
export const costlyChecks: boolean = process.env['HYPHA_CHECKS'] === '1'
