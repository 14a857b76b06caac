/**
 * Projection: which fields of a document a query gives. A list of paths, or MongoDB's objects: `{ town: 1, price: 1 }`
 * takes these fields, `{ notes: 0 }` all but these. Only what is listed is given, the key included only if listed.
 */
import { HyphaError } from '../base/errors.js'
import { parsePath } from './paths.js'

export type FieldsOption = readonly string[] | { readonly [field: string]: 0 | 1 | boolean }

export interface Projection {
  /** Top-level fields that are needed; undefined when all are. */
  readonly needs: readonly string[] | undefined
  readonly apply: (document: object) => object
}

/** Names at one level; a leaf is taken (or left out) whole. */
type Tree = Map<string, Tree | undefined>

export function parseProjection(fields: FieldsOption | undefined): Projection | undefined {
  if (fields === undefined) return undefined
  if (typeof fields !== 'object' || fields === null)
    throw new HyphaError('HYPHA_INVALID', 'fields is a list of field names, or an object such as { town: 1 }')
  const entries: (readonly [string, unknown])[] = Array.isArray(fields)
    ? fields.map((field: string) => [field, 1] as const)
    : Object.entries(fields)
  if (entries.length === 0)
    throw new HyphaError('HYPHA_INVALID', 'fields is empty: name a field, or leave the option out')
  const included = entries.filter(([, wanted]) => Boolean(wanted)).length
  if (included > 0 && included < entries.length) {
    throw new HyphaError('HYPHA_INVALID', 'fields either takes fields or leaves fields out; the two cannot be mixed')
  }
  const tree: Tree = new Map()
  for (const [field] of entries) plant(tree, parsePath(field, 'The field').steps)
  if (included === 0) return { needs: undefined, apply: document => without(document, tree) as object }
  return { needs: [...tree.keys()], apply: document => only(document, tree) as object }
}

function plant(root: Tree, steps: readonly string[]): void {
  let tree = root
  for (let i = 0; i < steps.length; i++) {
    const known = tree.has(steps[i])
    const inner = tree.get(steps[i])
    if (known && inner === undefined) return // the whole of it is taken already
    if (i === steps.length - 1) {
      tree.set(steps[i], undefined)
    } else {
      const next: Tree = inner ?? new Map<string, Tree | undefined>()
      tree.set(steps[i], next)
      tree = next
    }
  }
}

function isFieldObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

function only(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value))
    return value.filter(item => isFieldObject(item) || Array.isArray(item)).map(item => only(item, tree))
  const result: Record<string, unknown> = {}
  if (!isFieldObject(value)) return result
  for (const [name, inner] of tree) {
    if (!Object.hasOwn(value, name)) continue
    const field = value[name]
    if (inner === undefined) result[name] = field
    else if (isFieldObject(field) || Array.isArray(field)) result[name] = only(field, inner)
  }
  return result
}

function without(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value)) return value.map(item => without(item, tree))
  if (!isFieldObject(value)) return value
  const result: Record<string, unknown> = {}
  for (const name of Object.keys(value)) {
    if (!tree.has(name)) result[name] = value[name]
    else {
      const inner = tree.get(name)
      if (inner !== undefined) result[name] = without(value[name], inner)
    }
  }
  return result
}
