/**
 * Paths into documents: 'a.b.c'. An array on the way stands for each of its objects (or for one item, when the step is a
 * number), as in MongoDB.
 */
import { HyphaError } from '../base/errors.js'

export interface Path {
  readonly text: string
  readonly steps: readonly string[]
  /** For a path of one step: its name. Reading a field is then one property access. */
  readonly field: string | undefined
}

/** Names that every object answers to by inheritance: for them only own properties count. */
function isInherited(name: string): boolean {
  return name in Object.prototype
}

export function parsePath(text: string, what: string): Path {
  const steps = typeof text === 'string' ? text.split('.') : []
  if (steps.length === 0 || steps.some(step => step === '')) {
    throw new HyphaError(
      'HYPHA_INVALID',
      `${what} '${String(text)}' is no path: give field names joined by dots, like 'address.town'`,
    )
  }
  const field = steps.length === 1 && !isInherited(steps[0]) ? steps[0] : undefined
  return { text, steps, field }
}

/** What has fields: not a Date, bytes, a Map or a Set. */
function isObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function own(object: Record<string, unknown>, step: string): unknown {
  return isInherited(step) ? (Object.hasOwn(object, step) ? object[step] : undefined) : object[step]
}

/**
 * All values that stand at the path, arrays at its end not taken apart; `undefined` for a step that is missing, but nothing
 * at all for an array on the way that has no objects. Returns true when an array was on the way.
 */
export function leavesOf(document: object, path: Path, leaves: unknown[]): boolean {
  return descend(document, path.steps, 0, leaves)
}

function descend(value: unknown, steps: readonly string[], from: number, leaves: unknown[]): boolean {
  let current = value
  for (let i = from; i < steps.length; i++) {
    if (Array.isArray(current)) {
      descendArray(current, steps, i, leaves)
      return true
    }
    current = isObject(current) ? own(current, steps[i]) : undefined
  }
  leaves.push(current)
  return false
}

function descendArray(items: readonly unknown[], steps: readonly string[], step: number, leaves: unknown[]): void {
  if (/^(0|[1-9][0-9]*)$/.test(steps[step]) && Number(steps[step]) < items.length) {
    descend(items[Number(steps[step])], steps, step + 1, leaves)
  }
  for (const item of items) {
    if (isObject(item)) descend(item, steps, step, leaves)
  }
}

/** The value at a path, arrays not taken apart; undefined when a step is missing. */
export function valueAt(document: object, path: Path): unknown {
  if (path.field !== undefined) return (document as Record<string, unknown>)[path.field]
  let current: unknown = document
  for (const step of path.steps) current = isObject(current) ? own(current, step) : undefined
  return current
}
