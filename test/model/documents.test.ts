/**
 * Documents over the real engine, written by two processes at once: each finds its own as it left them, indexes hold what a
 * scan finds, and queries give what a filter of somebody else's making picks from all documents.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Collection, Document, Filter, SnapshotCollection } from 'hyphadb'
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import { Query } from 'mingo'
import { describe, expect, it } from 'vitest'
import { type DocumentsWork, openThings, THINGS } from './documents-worker.js'
import { tightOptions } from './model-run.js'
import { inTemporaryDirectory, Peer } from './processes.js'

const seed = testSeed()
const factor = Number(process.env['HYPHA_SEEDS'] ?? 1)

function randomFilter(random: SeededRandom): Filter {
  const one = (): Filter =>
    random.pick<() => Filter>([
      () => ({ tags: random.pick(['old', 'rare', 'none']) }),
      () => ({ tags: { $in: ['rare', 'cheap'] } }),
      () => ({ town: random.pick(['LEEDS', 'YORK', 'leeds']) }),
      () => ({ town: 'LEE', price: { $gte: random.below(50) } }),
      () => ({ town: { $in: ['LEEDS', 'ÅS'] }, price: { $lt: random.below(50) } }),
      () => ({ deed: random.below(2000) }),
      () => ({ deed: { $gte: random.below(2000), $lt: random.below(2000) } }),
      () => ({ note: `note ${random.below(10)}` }),
      () => ({ 'inner.x': random.below(5) }),
      () => ({ 'inner.x': { $gt: 2 }, town: 'YORK' }),
      () => ({ price: { $ne: 3 } }),
      () => ({ id: { $gte: '1', $lt: '1 3' } }),
    ])()
  return random.chance(0.2) ? { $or: [one(), one()] } : one()
}

const ids = (list: Iterable<object>): string[] => [...list].map(each => String((each as Document)['id'])).sort()

/** Queries over one state, against all its documents. */
function compareQueries(things: Collection | SnapshotCollection, random: SeededRandom, rounds: number): Set<string> {
  const all = things.find().toArray()
  const plans = new Set<string>()
  for (let i = 0; i < rounds; i++) {
    const filter = randomFilter(random)
    const explained = things.explain(filter)
    plans.add(`${explained.plan} ${explained.index ?? ''}`)
    const query = new Query(filter as Record<string, never>)
    const right = all.filter(document => query.test(document))
    const found = things.find(filter).toArray()
    const label = `${JSON.stringify(filter)} by ${JSON.stringify(explained)}, seed ${seed}`
    if (!isDeepStrictEqual(ids(found), ids(right)))
      throw new Error(`${found.length} documents for ${right.length}: ${label}`)
    if (things.count(filter) !== right.length) throw new Error(`count: ${label}`)
  }
  return plans
}

describe('documents written by two processes', () => {
  it('are found through every index as by a scan, while they change and afterwards', async () => {
    await inTemporaryDirectory(async directory => {
      const options = tightOptions(new SeededRandom(seed), 4096, 4)
      const { db, things } = await openThings(directory, options)
      const random = new SeededRandom(seed + 100)
      const peers = [0, 1].map(process => {
        const work: DocumentsWork = {
          directory,
          engine: options,
          process,
          seed: seed + process,
          operations: 1500 * factor,
        }
        return new Peer<number>(new URL('./documents-worker.js', import.meta.url).href, work)
      })
      let running = true
      const ended = Promise.all(peers.map(peer => peer.ended)).finally(() => {
        running = false
      })
      while (running) {
        using snapshot = db.snapshot()
        compareQueries(snapshot.collection(THINGS), random, 5)
        await new Promise(resolve => setTimeout(resolve, 5))
      }
      await ended
      const plans = compareQueries(things, random, 300)
      for (const index of ['byTags', 'byTown', 'byDeed', 'byNote', 'byInner'])
        expect([...plans]).toContain(`index ${index}`)
      expect((await db.verify()).faults).toEqual([])
      const before = things.find().toArray()
      await db.close()
      const again = await openThings(directory, options)
      expect(ids(again.things.find())).toEqual(ids(before))
      compareQueries(again.things, random, 100)
      expect((await again.db.verify()).faults).toEqual([])
      await again.db.close()
    })
  }, 300_000)
})
