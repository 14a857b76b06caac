/**
 * better-sqlite3: WAL, prepared statements, a table without rowid for rows, typed columns and two indexes for documents,
 * a cache as large as the others', and the file mapped where it fits.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Sale } from '../data.js'
import { loadSqlite, type SqliteDatabase } from './modules.js'
import { type DocumentStore, type KeyValueStore, QUERY_LIMIT, type StoreKind, type StoreOptions } from './store.js'

const MAPPED_BYTES = 2 ** 31 - 65536

function openDirectory({ directory, durability, cacheBytes, largerThanCache }: StoreOptions): SqliteDatabase {
  mkdirSync(directory, { recursive: true })
  const database = new (loadSqlite())(join(directory, 'data.sqlite'), { timeout: 10_000 })
  database.pragma('journal_mode = WAL')
  database.pragma(`synchronous = ${durability === 'durable' ? 'FULL' : 'NORMAL'}`)
  database.pragma(`cache_size = -${Math.round(cacheBytes / 1024)}`)
  database.pragma(`mmap_size = ${largerThanCache === true ? 0 : MAPPED_BYTES}`)
  database.pragma('temp_store = MEMORY')
  return database
}

function common(database: SqliteDatabase) {
  return {
    settled: () => void database.pragma('wal_checkpoint(FULL)'),
    close: () => database.close(),
  }
}

function openKeyValue(options: StoreOptions): KeyValueStore {
  const database = openDirectory(options)
  database.exec('CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID')
  const select = database.prepare('SELECT value FROM rows WHERE key = ?').pluck()
  const upsert = database.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?)')
  const everything = database.prepare('SELECT key, value FROM rows ORDER BY key').raw()
  const writeMany = database.transaction(
    (keys: readonly Buffer[], values: readonly Buffer[], from: number, to: number) => {
      for (let i = from; i < to; i++) upsert.run(keys[i], values[i % values.length])
    },
  )
  const readModifyWrite = database.transaction((key: Buffer) => {
    const value = select.get(key) as Buffer
    value[0] = (value[0] as number) + 1
    upsert.run(key, value)
  })
  return {
    ...common(database),
    get: key => select.get(key) as Buffer | undefined,
    borrow: key => select.get(key) as Buffer | undefined,
    scan() {
      let rows = 0
      for (const row of everything.iterate()) {
        const [key, value] = row as [Buffer, Buffer]
        if (key.length > 0 && value.length > 0) rows++
      }
      return rows
    },
    writeMany: (keys, values, from, to) => writeMany.immediate(keys, values, from, to),
    write: (key, value) => void upsert.run(key, value),
    start: (key, value) => void upsert.run(key, value),
    readModifyWrite: key => readModifyWrite.immediate(key),
  }
}

const COLUMNS: readonly (keyof Sale)[] = [
  'id',
  'price',
  'date',
  'postcode',
  'propertyType',
  'newBuild',
  'street',
  'town',
  'district',
  'county',
]

function openDocuments(options: StoreOptions): DocumentStore {
  const database = openDirectory(options)
  database.exec(`CREATE TABLE IF NOT EXISTS sales (id TEXT PRIMARY KEY, price INTEGER, date TEXT, postcode TEXT,
    propertyType TEXT, newBuild INTEGER, street TEXT, town TEXT, district TEXT, county TEXT) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_town ON sales (town, price);
    CREATE INDEX IF NOT EXISTS by_postcode ON sales (postcode)`)
  const upsert = database.prepare(`INSERT OR REPLACE INTO sales VALUES (${COLUMNS.map(() => '?').join(', ')})`)
  const select = database.prepare('SELECT * FROM sales WHERE id = ?')
  const query = database.prepare(
    `SELECT * FROM sales WHERE town = ? AND price >= ? ORDER BY price LIMIT ${QUERY_LIMIT}`,
  )
  const writeMany = database.transaction((documents: readonly Sale[]) => {
    for (const { id, price, date, postcode, propertyType, newBuild, street, town, district, county } of documents) {
      upsert.run(id, price, date, postcode, propertyType, newBuild ? 1 : 0, street, town, district, county)
    }
  })
  return {
    ...common(database),
    writeMany: documents => writeMany.immediate(documents),
    get: id => select.get(id) as Sale | undefined,
    cheapest(town, from) {
      let found = 0
      for (const sale of query.all(town, from) as Sale[]) if (sale.town === town) found++
      return found
    },
  }
}

export const sqlite: StoreKind = {
  name: 'better-sqlite3',
  manyProcesses: true,
  settings: ({ durability, cacheBytes, largerThanCache }) =>
    `WAL, synchronous ${durability === 'durable' ? 'FULL' : 'NORMAL'}, cache ${cacheBytes >> 20} MB, ${largerThanCache === true ? 'not mapped' : 'mapped'}, prepared statements`,
  openKeyValue,
  openDocuments,
}
