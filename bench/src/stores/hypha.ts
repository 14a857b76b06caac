/** HyphaDB through its public face: a table of bytes, and a collection with two indexes. */
import { type Database, open } from 'hyphadb'
import type { Sale } from '../data.js'
import { type DocumentStore, type KeyValueStore, QUERY_LIMIT, type StoreKind, type StoreOptions } from './store.js'

function openDirectory(options: StoreOptions): Promise<Database> {
  return open(options.directory, {
    memory: options.cacheBytes,
    durability: options.durability === 'durable' ? 'commit' : 'interval',
  })
}

const TABLE = 'rows'

async function openKeyValue(options: StoreOptions): Promise<KeyValueStore> {
  const database = await openDirectory(options)
  const table = database.table(TABLE, { keys: 'sorted', value: 'bytes' })
  return {
    get: key => table.get(key),
    borrow: key => table.get(key),
    scan() {
      let rows = 0
      for (const { key, value } of table.range()) if (key !== null && value.length > 0) rows++
      return rows
    },
    writeMany(keys, values, from, to) {
      database.transactionSync(
        tx => {
          const rows = tx.table(TABLE)
          for (let i = from; i < to; i++) rows.put(keys[i]!, values[i % values.length]!)
        },
        { durability: 'interval' },
      )
    },
    write: (key, value) => table.put(key, value),
    start: (key, value) => table.put(key, value),
    readModifyWrite(key) {
      database.transactionSync(tx => {
        const rows = tx.table(TABLE)
        const value = rows.get(key) as Uint8Array
        value[0] = (value[0] as number) + 1
        rows.put(key, value)
      })
    },
    logBytes: () => database.stats().log.tail,
    settled: () => database.flushed(),
    close: () => database.close(),
  }
}

async function openDocuments(options: StoreOptions): Promise<DocumentStore> {
  const database = await openDirectory(options)
  const sales = database.collection<Sale>('sales', {
    key: 'id',
    indexes: { byTown: { on: ['town', 'price'] }, byPostcode: { on: ['postcode'] } },
  })
  await sales.ready()
  return {
    writeMany(documents) {
      database.transactionSync(
        tx => {
          const collection = tx.collection<Sale>('sales')
          for (const document of documents) collection.put(document)
        },
        { durability: 'interval' },
      )
    },
    get: id => sales.get(id),
    cheapest(town, from) {
      let found = 0
      const query = sales.find({ town, price: { $gte: from } }, { sort: { price: 1 }, limit: QUERY_LIMIT })
      for (const sale of query) if (sale.town === town) found++
      return found
    },
    settled: () => database.flushed(),
    close: () => database.close(),
  }
}

export const hypha: StoreKind = {
  name: 'hypha',
  manyProcesses: true,
  settings: ({ durability, cacheBytes }) =>
    `memory ${cacheBytes >> 20} MB, durability ${durability === 'durable' ? 'commit' : 'interval (50 ms)'}`,
  openKeyValue,
  openDocuments,
}
