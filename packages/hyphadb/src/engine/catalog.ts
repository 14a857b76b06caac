/**
 * Tables by name. A row of the catalog table: name -> JSON { id, options }. Creating and dropping are transactions on that
 * table; every commit that touches it raises the catalog version, and transactions that began before run again.
 */
import { HyphaError } from '../base/errors.js'
import type { Reader, Table, TableOptions } from '../txn/api.js'
import type { Runner } from '../txn/runner.js'
import type { OpenTransaction } from '../txn/transaction.js'
import { CATALOG_TABLE, FIRST_USER_TABLE } from '../txn/trees.js'

/** The catalog itself, as a table. */
const catalogTable: Table = { id: CATALOG_TABLE, name: '', options: {} }
/** Key of the row that holds the next table id: no table has an empty name. */
const NEXT_ID = Buffer.alloc(0)
/** Dropped tables whose pages have not been freed yet stand under this first byte; names are UTF-8 and never have it. */
const DROPPED = 0xff

const DEFAULTS: TableOptions = { keys: 'sorted', log: 'shared', value: 'bytes' }
const NOT_YET: Record<string, string> = { keys: 'sorted', log: 'shared' }

export class Catalog {
  readonly #byName = new Map<string, Table>()
  readonly #byId = new Map<number, Table>()
  #version = -1

  constructor(
    readonly latest: Reader,
    readonly runner: Runner,
    readonly currentVersion: () => number,
  ) {}

  #refresh(): void {
    const version = this.currentVersion()
    if (version === this.#version) return
    this.#byName.clear()
    this.#byId.clear()
    const cursor = this.latest.range(catalogTable, { gt: NEXT_ID, lt: Buffer.from([DROPPED]) })
    while (cursor.next()) {
      const table = decode(
        cursor.keyBuffer.toString('utf8', 0, cursor.keyLength),
        cursor.buffer,
        cursor.valueStart,
        cursor.valueEnd,
      )
      this.#byName.set(table.name, table)
      this.#byId.set(table.id, table)
    }
    this.#version = version
  }

  lookup(name: string): Table | undefined {
    this.#refresh()
    return this.#byName.get(name)
  }

  all(): Table[] {
    this.#refresh()
    return [...this.#byName.values()]
  }

  /** Throws HYPHA_NOT_FOUND for the handle of a dropped table. */
  check(table: Table): void {
    if (this.currentVersion() !== this.#version) this.#refresh()
    if (this.#byId.has(table.id)) return
    throw new HyphaError('HYPHA_NOT_FOUND', `Table '${table.name}' has been dropped. Open it anew`)
  }

  open(name: string, options: TableOptions, readOnly: boolean): Table {
    checkOptions(name, options)
    const known = this.lookup(name)
    if (known !== undefined) {
      checkSame(known, options)
      return known
    }
    if (readOnly)
      throw new HyphaError(
        'HYPHA_NOT_FOUND',
        `There is no table '${name}', and the database was opened with readOnly: true`,
      )
    this.runner.transactSync(tx => this.#create(tx, name, options), { durability: 'none' })
    const made = this.lookup(name)
    if (made === undefined)
      throw new HyphaError('HYPHA_NOT_FOUND', `Table '${name}' was dropped while it was being created. Open it again`)
    checkSame(made, options)
    return made
  }

  #create(tx: OpenTransaction, name: string, options: TableOptions): void {
    const key = Buffer.from(name)
    if (tx.get(catalogTable, key) !== undefined) return
    const next = tx.get(catalogTable, NEXT_ID)
    const id = next === undefined ? FIRST_USER_TABLE : next.readUInt32LE(0)
    const after = Buffer.alloc(4)
    after.writeUInt32LE(id + 1, 0)
    tx.put(catalogTable, NEXT_ID, after)
    tx.put(catalogTable, key, Buffer.from(JSON.stringify({ id, options: { ...DEFAULTS, ...options } })))
  }

  drop(table: Table): void {
    this.runner.transactSync(
      tx => {
        const key = Buffer.from(table.name)
        const row = tx.get(catalogTable, key)
        if (row === undefined || decode(table.name, row, 0, row.length).id !== table.id) {
          throw new HyphaError('HYPHA_NOT_FOUND', `Table '${table.name}' has been dropped already`)
        }
        const mark = Buffer.alloc(5)
        mark[0] = DROPPED
        mark.writeUInt32BE(table.id, 1)
        tx.delete(catalogTable, key)
        tx.put(catalogTable, mark, row)
      },
      { durability: 'none' },
    )
  }
}

/** Ids of dropped tables whose pages are still to be freed. */
export function droppedTables(latest: Reader): { id: number; key: Buffer }[] {
  const cursor = latest.range(catalogTable, { gte: Buffer.from([DROPPED]) })
  const found: { id: number; key: Buffer }[] = []
  while (cursor.next()) {
    const key = Buffer.from(cursor.keyBuffer.subarray(0, cursor.keyLength))
    found.push({ id: key.readUInt32BE(1), key })
  }
  return found
}

export { catalogTable }

function decode(name: string, bytes: Buffer, start: number, end: number): Table {
  const { id, options } = JSON.parse(bytes.toString('utf8', start, end)) as { id: number; options: TableOptions }
  return { id, name, options }
}

function checkOptions(name: string, options: TableOptions): void {
  for (const [option, value] of Object.entries(NOT_YET)) {
    if (options[option] !== undefined && options[option] !== value) {
      throw new HyphaError(
        'HYPHA_INVALID',
        `Table '${name}': ${option} can be '${value}' in this version, not ${JSON.stringify(options[option])}`,
      )
    }
  }
}

function checkSame(table: Table, wanted: TableOptions): void {
  for (const [option, value] of Object.entries(wanted)) {
    if (value === undefined || JSON.stringify(table.options[option]) === JSON.stringify(value)) continue
    throw new HyphaError(
      'HYPHA_INVALID',
      `Table '${table.name}' was created with ${option}: ${JSON.stringify(table.options[option])}; ${JSON.stringify(value)} contradicts that. Leave the option out, or use another table`,
    )
  }
}
