/**
 * What collections are: which tables they have, which field is the key, which indexes exist. The engine's catalog of tables
 * is the only truth; this keeps one thread's reading of it, and reads again whenever the catalog has changed.
 *
 * | table | options | holds |
 * |---|---|---|
 * | `<collection>` | { kind: 'collection', key } | documents by key |
 * | `<collection>/<index>` | { kind: 'index', on, unique, sparse } | entries (index-entries.ts) |
 * | `hypha/shapes` | { kind: 'shapes' } | shapes (shapes.ts) |
 *
 * Invariant. A transaction that writes documents takes the state from here inside its callback. If an index has been
 * added or dropped since the transaction began, the engine refuses the commit and the callback runs again: no document is
 * written without its entries.
 */
import { HyphaError } from '../base/errors.js'
import { MAX_TABLE_NAME_BYTES } from '../base/limits.js'
import type { Table, TableOptions } from '../engine/api.js'
import type { DocumentEngine } from './document-engine.js'
import { type IndexDefinition, OpenIndex } from './index-entries.js'
import { type Path, parsePath } from './paths.js'

export const DEFAULT_KEY = 'id'
const SHAPES_TABLE = 'hypha/shapes'

export interface IndexOptions {
  /** Fields, as paths ('address.town'). Several make a compound index. */
  readonly on: readonly string[]
  /** No two documents may have the same values; null and absent fields count as a value unless the index is sparse. */
  readonly unique?: boolean
  /** Leaves out documents that have none of the fields. */
  readonly sparse?: boolean
}

/** A collection as it is in the catalog at one moment. */
export interface CollectionState {
  readonly table: Table
  readonly key: string
  readonly keyPath: Path
  readonly indexes: readonly OpenIndex[]
}

export function checkName(name: unknown, what: string): string {
  if (
    typeof name !== 'string' ||
    name === '' ||
    name.includes('/') ||
    Buffer.byteLength(name) > MAX_TABLE_NAME_BYTES / 2
  ) {
    throw new HyphaError(
      'HYPHA_INVALID',
      `${what} is a name of up to ${Math.floor(MAX_TABLE_NAME_BYTES / 2)} bytes without '/', not ${JSON.stringify(name) ?? String(name)}`,
    )
  }
  return name
}

export function checkKey(key: unknown): string {
  if (typeof key !== 'string' || key === '' || key.includes('.') || key in Object.prototype) {
    throw new HyphaError('HYPHA_INVALID', `key names a top-level field, not ${JSON.stringify(key) ?? String(key)}`)
  }
  return key
}

export function checkIndex(name: string, options: IndexOptions): IndexDefinition {
  checkName(name, 'An index')
  if (typeof options !== 'object' || options === null || !Array.isArray(options.on) || options.on.length === 0) {
    throw new HyphaError('HYPHA_INVALID', `Index '${name}' needs { on: ['field', …] }`)
  }
  for (const option of Object.keys(options)) {
    if (option !== 'on' && option !== 'unique' && option !== 'sparse') {
      throw new HyphaError(
        'HYPHA_INVALID',
        `Index '${name}' has an unknown option '${option}': use on, unique and sparse`,
      )
    }
  }
  const on = options.on.map((path: string) => parsePath(path, `Index '${name}': the field`).text)
  if (new Set(on).size !== on.length) throw new HyphaError('HYPHA_INVALID', `Index '${name}' names a field twice`)
  return { name, on, unique: options.unique === true, sparse: options.sparse === true }
}

function isPlainIndex(table: Table): boolean {
  return table.options.kind === 'index' && Array.isArray(table.options.on)
}

/**
 * Thrown out of a transaction's callback that needs a table which does not exist: a table cannot be created in the middle
 * of a transaction. Whoever runs the transaction creates it and runs the callback again.
 */
export class MissingTable extends HyphaError {
  constructor(
    name: string,
    readonly create: () => void,
  ) {
    super(
      'HYPHA_NOT_FOUND',
      `'${name}' does not exist yet, and the transaction that would create it was not allowed to run again`,
    )
  }
}

export class Catalog {
  private version = Number.NaN
  private readonly states = new Map<string, CollectionState | undefined>()
  private shapes: Table | undefined

  constructor(private readonly engine: DocumentEngine) {}

  /** The collection now, or undefined when it does not exist. */
  state(name: string): CollectionState | undefined {
    const version = this.engine.catalogVersion
    if (version !== this.version) this.refresh(version)
    const known = this.states.get(name)
    if (known !== undefined) return known
    return this.load(name, undefined)
  }

  /** The collection, created if it does not exist. */
  ensure(name: string, key: string): CollectionState {
    const known = this.state(name)
    if (known !== undefined) return known
    this.shapesTable() // before the collection: who finds the collection can store shapes
    this.engine.openTable(name, { kind: 'collection', key })
    const created = this.state(name)
    if (created === undefined)
      throw new HyphaError('HYPHA_ASSERTION', 'a table that was just opened is not in the catalog')
    return created
  }

  /** Opens or creates the table of an index. A definition that contradicts the stored one is refused. */
  ensureIndex(collection: string, definition: IndexDefinition): OpenIndex {
    const name = `${collection}/${definition.name}`
    const options: TableOptions = {
      kind: 'index',
      on: [...definition.on],
      unique: definition.unique,
      sparse: definition.sparse,
    }
    const existing = this.engine.lookupTable(name)
    if (existing !== undefined && !sameIndex(existing.options, options)) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `Index '${definition.name}' of '${collection}' exists with other options (${describeIndex(existing.options)}): drop it first, or take another name`,
      )
    }
    if (existing === undefined) this.engine.openTable(name, options)
    const index = this.state(collection)?.indexes.find(each => each.name === definition.name)
    if (index === undefined)
      throw new HyphaError('HYPHA_ASSERTION', 'an index that was just opened is not in the catalog')
    return index
  }

  dropIndex(collection: string, name: string): boolean {
    const index = this.state(collection)?.indexes.find(each => each.name === name)
    if (index === undefined) return false
    this.engine.dropTable(index.table)
    return true
  }

  collections(): string[] {
    return this.engine
      .tables()
      .filter(table => table.options.kind === 'collection')
      .map(table => table.name)
      .sort()
  }

  shapesTable(): Table {
    this.shapes ??= this.engine.openTable(SHAPES_TABLE, { kind: 'shapes' })
    return this.shapes
  }

  /** The table of shapes if it exists; reading creates nothing. */
  lookupShapesTable(): Table | undefined {
    this.shapes ??= this.engine.lookupTable(SHAPES_TABLE)
    return this.shapes
  }

  /** Keeps what has not changed: an open index remembers what it has learnt about its table. */
  private refresh(version: number): void {
    this.version = version
    const before = [...this.states]
    this.states.clear()
    for (const [name, state] of before) this.load(name, state)
  }

  private load(name: string, before: CollectionState | undefined): CollectionState | undefined {
    const table = this.engine.lookupTable(name)
    if (table === undefined) return undefined
    if (table.options.kind !== 'collection') {
      throw new HyphaError('HYPHA_INVALID', `'${name}' is a table, not a collection: use db.table('${name}')`)
    }
    const prefix = `${name}/`
    const indexes = this.engine
      .tables()
      .filter(each => each.name.startsWith(prefix) && isPlainIndex(each))
      .sort((a, b) => a.id - b.id)
      .map(
        each =>
          before?.indexes.find(index => index.table.id === each.id) ?? openIndex(each, each.name.slice(prefix.length)),
      )
    const key = String(table.options.key)
    const state: CollectionState = { table, key, keyPath: parsePath(key, 'The key'), indexes }
    this.states.set(name, state)
    return state
  }
}

function openIndex(table: Table, name: string): OpenIndex {
  const on = table.options.on as readonly string[]
  const definition: IndexDefinition = {
    name,
    on,
    unique: table.options.unique === true,
    sparse: table.options.sparse === true,
  }
  return new OpenIndex(
    table,
    definition,
    on.map(path => parsePath(path, 'The field')),
  )
}

function sameIndex(a: Readonly<TableOptions>, b: Readonly<TableOptions>): boolean {
  return describeIndex(a) === describeIndex(b)
}

function describeIndex(options: Readonly<TableOptions>): string {
  const { on, unique, sparse } = options
  return JSON.stringify({ on, unique: unique === true, sparse: sparse === true })
}
