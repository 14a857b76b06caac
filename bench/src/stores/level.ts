/**
 * classic-level: buffers as keys and values, one `batch` as its transaction, `getSync` where one row is read, `nextv` with a
 * high water mark where many are. Documents are JSON, their indexes rows beside them.
 */
import type { Sale } from '../data.js'
import { type LevelDatabase, type LevelOperation, loadLevel } from './modules.js'
import { type DocumentStore, type KeyValueStore, QUERY_LIMIT, type StoreKind, type StoreOptions } from './store.js'

const WRITE_BUFFER_BYTES = 64 << 20
const ROWS_AT_ONCE = 2000

async function openDirectory<V>(options: StoreOptions, encoding: 'buffer' | 'utf8'): Promise<LevelDatabase<V>> {
  const { ClassicLevel } = loadLevel()
  const database = new ClassicLevel<V>(options.directory, {
    keyEncoding: encoding,
    valueEncoding: encoding,
    cacheSize: options.cacheBytes,
    writeBufferSize: Math.min(WRITE_BUFFER_BYTES, options.cacheBytes >> 1),
  })
  await database.open()
  return database
}

/** A synced write makes all before it durable. */
const settled = (database: LevelDatabase<Buffer> | LevelDatabase<string>): Promise<void> =>
  database.batch([{ type: 'put', key: 'zzz settled', value: '-' }], {
    sync: true,
    keyEncoding: 'utf8',
    valueEncoding: 'utf8',
  })

async function openKeyValue(options: StoreOptions): Promise<KeyValueStore> {
  const database = await openDirectory<Buffer>(options, 'buffer')
  const sync = { sync: options.durability === 'durable' }
  return {
    get: key => database.getSync(key),
    borrow: key => database.getSync(key),
    async scan() {
      const iterator = database.iterator({ highWaterMarkBytes: ROWS_AT_ONCE * 200 })
      let rows = 0
      for (;;) {
        const some = await iterator.nextv(ROWS_AT_ONCE)
        if (some.length === 0) break
        for (const [key, value] of some) if (key.length > 0 && value.length > 0) rows++
      }
      await iterator.close()
      return rows
    },
    writeMany(keys, values, from, to) {
      const operations: LevelOperation[] = []
      for (let i = from; i < to; i++) operations.push({ type: 'put', key: keys[i]!, value: values[i % values.length]! })
      return database.batch(operations)
    },
    write: (key, value) => database.put(key, value, sync),
    start: (key, value) => database.put(key, value, sync),
    settled: () => settled(database),
    close: () => database.close(),
  }
}

const priceDigits = (price: number): string => String(price).padStart(10, '0')

async function openDocuments(options: StoreOptions): Promise<DocumentStore> {
  const database = await openDirectory<string>(options, 'utf8')
  return {
    writeMany(documents) {
      const operations: LevelOperation[] = []
      for (const document of documents) {
        const { id, town, price, postcode } = document
        operations.push({ type: 'put', key: `d!${id}`, value: JSON.stringify(document) })
        operations.push({ type: 'put', key: `t!${town}!${priceDigits(price)}!${id}`, value: id })
        operations.push({ type: 'put', key: `p!${postcode}!${id}`, value: id })
      }
      return database.batch(operations)
    },
    get(id) {
      const text = database.getSync(`d!${id}`)
      return text === undefined ? undefined : (JSON.parse(text) as Sale)
    },
    async cheapest(town, from) {
      const range = { gte: `t!${town}!${priceDigits(from)}`, lt: `t!${town}!~`, limit: QUERY_LIMIT }
      let found = 0
      for (const [, id] of await database.iterator(range).all()) {
        const text = database.getSync(`d!${id}`)
        if (text !== undefined && (JSON.parse(text) as Sale).town === town) found++
      }
      return found
    },
    settled: () => settled(database),
    close: () => database.close(),
  }
}

export const level: StoreKind = {
  name: 'classic-level',
  manyProcesses: false,
  settings: ({ durability, cacheBytes }) =>
    `cache ${cacheBytes >> 20} MB, write buffer ${Math.min(WRITE_BUFFER_BYTES, cacheBytes >> 1) >> 20} MB, ${durability === 'durable' ? 'sync: true' : 'sync: false'}`,
  openKeyValue,
  openDocuments,
}
