/**
 * Says why a document cannot be stored, and where. The writer only notices; this walk, made once the writer has given up,
 * finds the path.
 */
import { HyphaError } from '../base/errors.js'
import { MAX_DEPTH } from './format.js'
import { isWellFormed } from './unicode.js'

interface Finding {
  readonly path: string
  readonly why: string
}

export function explainRefusal(document: unknown): HyphaError {
  const finding =
    typeof document !== 'object' || document === null || !isPlain(document)
      ? { path: '', why: `a document is a plain object, not ${describe(document)}` }
      : find(document, '', [])
  if (finding === undefined) {
    return new HyphaError(
      'HYPHA_INVALID',
      'The document changed while it was being stored: its getters or proxies must be stable',
    )
  }
  const where = finding.path === '' ? '' : ` at '${finding.path}'`
  return new HyphaError('HYPHA_INVALID', `The document cannot be stored: ${finding.why}${where}`)
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value !== 'object') return `a ${typeof value}`
  if (Array.isArray(value)) return 'an array'
  const constructor: unknown = value.constructor
  return `an instance of ${typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'a class'}`
}

function joined(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

function find(value: unknown, path: string, ancestors: readonly object[]): Finding | undefined {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? undefined : { path, why: 'half a surrogate pair (not unicode) in the string' }
    case 'function':
      return { path, why: 'a function' }
    case 'symbol':
      return { path, why: 'a symbol' }
    case 'object':
      return value === null ? undefined : findInObject(value, path, ancestors)
    default:
      return undefined
  }
}

function findInObject(value: object, path: string, ancestors: readonly object[]): Finding | undefined {
  if (ancestors.includes(value)) return { path, why: 'a cycle (the object contains itself)' }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Date.prototype || prototype === Uint8Array.prototype || prototype === Buffer.prototype)
    return undefined
  if (ancestors.length >= MAX_DEPTH) return { path, why: `nesting deeper than ${MAX_DEPTH}` }
  const inside = [...ancestors, value]
  if (isPlain(value)) return findInFields(value as Record<string, unknown>, path, inside)
  if (prototype === Array.prototype) return findInArray(value as unknown[], path, inside)
  if (prototype === Map.prototype || prototype === Set.prototype) {
    let i = 0
    for (const item of (value as Map<unknown, unknown> | Set<unknown>).values()) {
      const finding = find(item, `${path}[${i++}]`, inside)
      if (finding !== undefined) return finding
    }
    if (prototype === Set.prototype) return undefined
    return findInArray([...(value as Map<unknown, unknown>).keys()], `${path}.keys`, inside)
  }
  return { path, why: describe(value) }
}

function findInFields(
  object: Record<string, unknown>,
  path: string,
  ancestors: readonly object[],
): Finding | undefined {
  for (const name of Object.keys(object)) {
    const at = joined(path, name)
    if (name === '__proto__') return { path: at, why: "a field called '__proto__'" }
    if (!isWellFormed(name)) return { path: at, why: 'half a surrogate pair (not unicode) in the name of a field' }
    const finding = find(object[name], at, ancestors)
    if (finding !== undefined) return finding
  }
  return undefined
}

function findInArray(items: readonly unknown[], path: string, ancestors: readonly object[]): Finding | undefined {
  for (let i = 0; i < items.length; i++) {
    if (!(i in items)) return { path: `${path}[${i}]`, why: 'a hole in the array' }
    const finding = find(items[i], `${path}[${i}]`, ancestors)
    if (finding !== undefined) return finding
  }
  return undefined
}
