/**
 * lmdb-js as its README advises: `noMemInit`, keys as binary where they are bytes, documents with shared structures, an
 * index as a `dupSort` database. Relaxed writes use `noSync`, which is what LMDB has for them (and which, other than the
 * relaxed modes of the others, may leave a broken file after a loss of power); with its defaults every one of them would
 * wait for the disk.
 */
import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Sale } from '../data.js'
import { type LmdbDatabase, type LmdbRoot, loadLmdb } from './modules.js'
import { type DocumentStore, type KeyValueStore, QUERY_LIMIT, type StoreKind, type StoreOptions } from './store.js'

const MAP_BYTES = 16 * 2 ** 30

function rootOptions({ durability, largerThanCache }: StoreOptions): Record<string, unknown> {
  return {
    noMemInit: true,
    mapSize: MAP_BYTES,
    noSync: durability === 'relaxed',
    ...(largerThanCache === true ? { pageSize: 8192 } : {}),
  }
}

/** With `noSync` nobody syncs the file but we. */
async function settled(root: LmdbRoot<unknown, unknown>, { directory, durability }: StoreOptions): Promise<void> {
  await root.flushed
  if (durability === 'durable') return
  const descriptor = openSync(join(directory, 'data.mdb'), 'r+')
  fdatasyncSync(descriptor)
  closeSync(descriptor)
}

function openKeyValue(options: StoreOptions): KeyValueStore {
  const root = loadLmdb().open<Buffer, Buffer>(options.directory, {
    ...rootOptions(options),
    encoding: 'binary',
    keyEncoding: 'binary',
  })
  const put = (key: Buffer, value: Buffer): Promise<unknown> => root.put(key, value)
  return {
    get: key => root.getBinary(key),
    borrow: key => root.getBinaryFast(key),
    scan() {
      let rows = 0
      for (const { key, value } of root.getRange({})) if (key.length > 0 && value.length > 0) rows++
      return rows
    },
    async writeMany(keys, values, from, to) {
      await root.transaction(() => {
        for (let i = from; i < to; i++) void root.put(keys[i]!, values[i % values.length]!)
      })
    },
    async write(key, value) {
      await put(key, value)
      if (options.durability === 'durable') await root.flushed
    },
    async start(key, value) {
      await put(key, value)
      if (options.durability === 'durable') await root.flushed
    },
    async readModifyWrite(key) {
      await root.transaction(() => {
        const value = root.getBinary(key) as Buffer
        value[0] = (value[0] as number) + 1
        void root.put(key, value)
      })
    },
    settled: () => settled(root as LmdbRoot<unknown, unknown>, options),
    close: () => root.close(),
  }
}

type PriceInTown = [town: string, price: number]

function openDocuments(options: StoreOptions): DocumentStore {
  const root = loadLmdb().open<unknown, string>(options.directory, { ...rootOptions(options), maxDbs: 8 })
  const sales = root.openDB<Sale, string>({
    name: 'sales',
    encoding: 'msgpack',
    sharedStructuresKey: Symbol.for('structures'),
  })
  const index = { dupSort: true, encoding: 'ordered-binary' }
  const byTown: LmdbDatabase<string, PriceInTown> = root.openDB({ name: 'by-town', ...index })
  const byPostcode: LmdbDatabase<string, string> = root.openDB({ name: 'by-postcode', ...index })
  return {
    async writeMany(documents) {
      await root.transaction(() => {
        for (const document of documents) {
          void sales.put(document.id, document)
          void byTown.put([document.town, document.price], document.id)
          void byPostcode.put(document.postcode, document.id)
        }
      })
    },
    get: id => sales.get(id),
    cheapest(town, from) {
      let found = 0
      const range = { start: [town, from], end: [town, Number.POSITIVE_INFINITY], limit: QUERY_LIMIT }
      for (const { value } of byTown.getRange(range)) if (sales.get(value)?.town === town) found++
      return found
    },
    settled: () => settled(root as LmdbRoot<unknown, unknown>, options),
    close: () => root.close(),
  }
}

export const lmdb: StoreKind = {
  name: 'lmdb',
  manyProcesses: true,
  settings: ({ durability, largerThanCache }) =>
    [
      'noMemInit',
      durability === 'durable' ? 'overlappingSync (default), awaits flushed' : 'noSync',
      largerThanCache === true ? 'pageSize 8192' : 'pageSize 4096',
      "the system's page cache",
    ].join(', '),
  openKeyValue,
  openDocuments,
}
