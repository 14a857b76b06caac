import { describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import { type Database, openDatabase } from './database.js'
import { FakeEngine } from './fake-engine.test-support.js'

async function open(engine = new FakeEngine()): Promise<Database> {
  return openDatabase(async () => engine)
}

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof HyphaError) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

describe('a table of keys and values', () => {
  it('keeps bytes under keys of any type, in their order', async () => {
    const table = (await open()).table('events')
    const keys = ['b', 2, 'a', null, [1, 'x'], new Date(5), 1n, true]
    for (const [i, key] of keys.entries()) await table.put(key, Uint8Array.of(i))
    expect([...(table.get('a') ?? [])]).toEqual([2])
    expect(table.get('c')).toBeUndefined()
    expect(table.has(2)).toBe(true)
    expect(
      table
        .range()
        .toArray()
        .map(row => row.key),
    ).toEqual([null, true, 1n, 2, 'a', 'b', new Date(5), [1, 'x']])
    expect(
      table
        .range({ gt: 1, lte: 'a', reverse: true })
        .toArray()
        .map(row => row.key),
    ).toEqual(['a', 2, 1n])
    await table.delete('a')
    expect(table.count()).toBe(7)
    const seen: unknown[] = []
    for await (const row of table.range({ limit: 2 })) seen.push(row.key)
    expect(seen).toEqual([null, true])
  })

  it('keeps values as JSON or MessagePack when it was created so, and refuses what has no bytes', async () => {
    const db = await open()
    const json = db.table<unknown>('json', { value: 'json' })
    await json.put('a', { x: [1, null] })
    expect(json.get('a')).toEqual({ x: [1, null] })
    const packed = db.table<unknown>('packed', { value: 'msgpack' })
    const value = { at: new Date(3), set: new Set([1]), map: new Map([['k', 1]]), big: 5n, bytes: Buffer.from('x') }
    await packed.put('a', value)
    expect(packed.get('a')).toEqual(value)
    await expect(db.table<unknown>('plain').put('a', 'text')).rejects.toMatchObject({ code: 'HYPHA_INVALID' })
    await expect(json.put('b', undefined)).rejects.toMatchObject({ code: 'HYPHA_INVALID' })
  })

  it('remembers its options, and refuses to be opened with others', async () => {
    const engine = new FakeEngine()
    await (await open(engine)).table<unknown>('json', { value: 'json' }).put(1, { a: 1 })
    const db = await open(engine)
    expect(db.table<unknown>('json').get(1)).toEqual({ a: 1 })
    expect(db.table<unknown>('json', { keys: 'sorted' }).get(1)).toEqual({ a: 1 })
    expect(refusal(() => db.table('json', { value: 'bytes' }))).toMatch(/^HYPHA_INVALID/)
    expect(refusal(() => db.table('x', { values: 'json' } as object))).toMatch(/^HYPHA_INVALID .*'values'/)
    expect(refusal(() => db.collection('json').get(1))).toMatch(/^HYPHA_INVALID .*db\.table/)
  })

  it('takes part in transactions and snapshots', async () => {
    const db = await open()
    const table = db.table<unknown>('t', { value: 'json' })
    await table.put('a', 1)
    const snapshot = db.snapshot()
    await db.transaction(tx => {
      const own = tx.table<unknown>('t')
      own.put('b', 2)
      own.delete('a')
      expect(own.range().toArray()).toEqual([{ key: 'b', value: 2 }])
    })
    db.transactionSync(tx => tx.table<unknown>('fresh', { value: 'json' }).put(1, 'made inside'))
    expect(db.table<unknown>('fresh').get(1)).toBe('made inside')
    expect(snapshot.table<unknown>('t').get('a')).toBe(1)
    expect(refusal(() => snapshot.table('none'))).toMatch(/^HYPHA_NOT_FOUND/)
    expect(table.get('a')).toBeUndefined()
    snapshot.close()
  })
})
