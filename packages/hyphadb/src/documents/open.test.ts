import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import type { Database } from './database.js'
import { open } from './open.js'

const opened: Database[] = []
const directories: string[] = []

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'hypha-documents-'))
  directories.push(directory)
  return directory
}

async function openAt(directory: string): Promise<Database> {
  const db = await open(directory, { memory: '16MB', pageSize: 4096, durability: 'none' })
  opened.push(db)
  return db
}

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close()
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

/** A small generator of numbers, so that a failing round can be run again. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe('a database on disk', () => {
  it('gives the documents back after it was closed and opened again', async () => {
    const directory = newDirectory()
    const documents = Array.from({ length: 300 }, (_, i) => ({
      id: i,
      town: `town ${i % 7}`,
      at: new Date(i),
      big: 2n ** 70n + BigInt(i),
      data: Buffer.from([i & 255]),
      tags: i % 10 === 0 ? ['a', 'b'] : 'c',
      text: 'x'.repeat(i * 20),
    }))
    const first = await openAt(directory)
    const options = {
      indexes: { byTown: { on: ['town', 'id'] }, byTags: { on: ['tags'] }, byBig: { on: ['big'], unique: true } },
    }
    await first.collection('things', options).putMany(documents)
    await first.close()
    const things = (await openAt(directory)).collection<(typeof documents)[0]>('things')
    expect(isDeepStrictEqual(things.find().toArray(), documents)).toBe(true)
    expect(
      things
        .find({ town: 'town 3' }, { sort: { id: -1 }, limit: 2 })
        .toArray()
        .map(thing => thing.id),
    ).toEqual([297, 290])
    expect(things.count({ tags: { $in: ['a', 'b'] } })).toBe(30)
    expect(things.find({ big: 2n ** 70n + 5n }).first()?.id).toBe(5)
    await expect(things.insert({ ...documents[1], id: 1000 })).rejects.toMatchObject({ code: 'HYPHA_DUPLICATE' })
  })

  it('answers by index what a scan answers, while two participants write and add and drop indexes', async () => {
    const directory = newDirectory()
    const participants = [await openAt(directory), await openAt(directory)]
    const seed = Date.now() % 1_000_000
    const random = numbers(seed)
    const model = new Map<number, object>()
    for (let step = 0; step < 1500; step++) {
      const things = participants[random(2)].collection('things')
      const id = random(60)
      const action = random(20)
      if (action === 0) {
        await things.createIndex(`index${random(3)}`, { on: ['a'] }).catch(expectKnown)
      } else if (action === 1) {
        things.dropIndex(`index${random(3)}`)
      } else if (action < 6) {
        expect(await things.delete(id), `seed ${seed}`).toBe(model.delete(id))
      } else {
        const document = {
          id,
          a: random(5),
          b: 'text'.repeat(random(200)),
          ...(random(4) === 0 ? { c: [random(3)] } : {}),
        }
        await things.put(document)
        model.set(id, document)
      }
      if (step % 10 === 0) {
        const wanted = random(5)
        const expected = [...model.values()].filter(each => (each as { a: number }).a === wanted).length
        for (const db of participants)
          expect(db.collection('things').count({ a: wanted }), `seed ${seed}`).toBe(expected)
      }
    }
    const all = participants[0]
      .collection('things')
      .find({}, { sort: { id: 1 } })
      .toArray()
    expect(all).toEqual([...model.entries()].sort((x, y) => x[0] - y[0]).map(entry => entry[1]))
    expect((await participants[1].verify()).faults).toEqual([])
  })

  it('keeps a sum that two participants move around at the same time', async () => {
    const directory = newDirectory()
    const [one, two] = [await openAt(directory), await openAt(directory)]
    const accounts = Array.from({ length: 8 }, (_, id) => ({ id, balance: 100 }))
    await one.collection('accounts', { indexes: { byBalance: { on: ['balance'] } } }).putMany(accounts)
    const move = async (db: Database, random: (below: number) => number): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        await db.transaction(async tx => {
          const own = tx.collection<{ id: number; balance: number }>('accounts')
          const [from, to] = [random(8), random(8)]
          const amount = random(30)
          own.update(from, account => ({ ...account, balance: account.balance - amount }))
          await Promise.resolve()
          own.update(to, account => ({ ...account, balance: account.balance + amount }))
        })
      }
    }
    await Promise.all([move(one, numbers(1)), move(two, numbers(2)), move(one, numbers(3))])
    const collection = two.collection<{ id: number; balance: number }>('accounts')
    const byIndex = collection.find({ balance: { $gte: -1e9 } }).toArray()
    expect(byIndex.length).toBe(8)
    expect(byIndex.reduce((sum, account) => sum + account.balance, 0)).toBe(800)
  })

  it('sees nothing of other tables, and nothing once it is closed', async () => {
    const db = await openAt(newDirectory())
    await db.table('raw').put('a', Uint8Array.of(1))
    await db.collection('things').put({ id: 1 })
    expect(db.collections()).toEqual(['things'])
    await db.close()
    expect(() => db.collection('things')).toThrow(HyphaError)
  })
})

function expectKnown(error: unknown): void {
  if (!(error instanceof HyphaError) || (error.code !== 'HYPHA_NOT_FOUND' && error.code !== 'HYPHA_CONFLICT'))
    throw error
}
