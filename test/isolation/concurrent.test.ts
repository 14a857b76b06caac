/** Concurrent histories of four processes, over a pool of a few pages. HYPHA_SEED repeats a run's choices. */
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import type { Isolation } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { describe, expect, it } from 'vitest'
import { tightOptions } from '../model/model-run.js'
import { inTemporaryDirectory, Peer } from '../model/processes.js'
import { checkSum, createSharedRows, SHARED_TABLE } from '../model/shared-rows.js'
import { checkHistory, type ListTransaction } from './history.js'
import {
  COUNTERS,
  COUNTERS_TABLE,
  type IsolationWork,
  keyOf,
  LIST_KEYS,
  LISTS_TABLE,
  PAIR_TABLES,
  readList,
} from './worker.js'

const PROCESSES = 4
const seed = testSeed()
const factor = Number(process.env['HYPHA_SEEDS'] ?? 1)

/** Opens the database here and in the other processes, and starts them together. */
async function together(
  work: Pick<IsolationWork, 'scenario' | 'transactions' | 'isolation'>,
  prepare: (engine: HyphaEngine) => Promise<void>,
  check: (engine: HyphaEngine, peers: Peer[]) => Promise<void>,
): Promise<void> {
  await inTemporaryDirectory(async directory => {
    const options = tightOptions(new SeededRandom(seed), 4096, PROCESSES)
    const engine = await openEngine(directory, options)
    try {
      await prepare(engine)
      const peers = Array.from({ length: PROCESSES }, (_, process) => {
        const whole: IsolationWork = { ...work, directory, engine: options, process, seed: seed + process }
        return new Peer(new URL('./worker.js', import.meta.url).href, whole)
      })
      for (const peer of peers) await peer.next()
      for (const peer of peers) peer.tell('go')
      await check(engine, peers)
      await Promise.all(peers.map(peer => peer.ended))
      expect((await engine.verify()).faults, `seed ${seed}`).toEqual([])
    } finally {
      await engine.close()
    }
  })
}

describe('transactions of four processes', () => {
  for (const isolation of ['serializable', 'snapshot'] as Isolation[]) {
    it(`on lists leave a history without forbidden cycles at ${isolation}`, async () => {
      const nothing = async (): Promise<void> => {}
      await together({ scenario: 'lists', transactions: 250 * factor, isolation }, nothing, async (engine, peers) => {
        const histories = await Promise.all(peers.map(peer => peer.next() as Promise<ListTransaction[]>))
        const table = engine.openTable(LISTS_TABLE)
        const final = new Map(Array.from({ length: LIST_KEYS }, (_, key) => [key, readList(engine.latest, table, key)]))
        expect(checkHistory(histories.flat(), final, isolation), `seed ${seed}`).toEqual([])
        expect([...final.values()].flat().length, 'enough was appended').toBeGreaterThan(100)
      })
    }, 300_000)

    it(`keep the sum of all accounts at ${isolation}`, async () => {
      await together(
        { scenario: 'bank', transactions: 150 * factor, isolation },
        createSharedRows,
        async (engine, peers) => {
          await Promise.all(peers.map(peer => peer.next()))
          checkSum(engine.latest, engine.openTable(SHARED_TABLE), `the end, seed ${seed}`)
        },
      )
    }, 300_000)
  }

  it('are never seen by half, while pages are evicted and checkpoints made', async () => {
    const prepare = async (engine: HyphaEngine): Promise<void> => {
      for (const name of PAIR_TABLES) engine.openTable(name)
    }
    await together(
      { scenario: 'pairs', transactions: 400 * factor, isolation: 'serializable' },
      prepare,
      async (_engine, peers) => {
        await Promise.all(peers.map(peer => peer.next()))
      },
    )
  }, 300_000)

  it('that are short do not keep a long one from winning in the end', async () => {
    const prepare = (engine: HyphaEngine): Promise<void> =>
      engine.transact(tx => {
        const table = engine.openTable(COUNTERS_TABLE)
        for (let i = 0; i < COUNTERS; i++) tx.put(table, keyOf(i), Buffer.from('0'))
      })
    await together(
      { scenario: 'short', transactions: 0, isolation: 'serializable' },
      prepare,
      async (engine, peers) => {
        await Promise.all(peers.map(peer => peer.next()))
        const table = engine.openTable(COUNTERS_TABLE)
        let attempts = 0
        for (let round = 0; round < 3; round++) {
          await engine.transact(async tx => {
            attempts++
            let sum = 0
            for (let i = 0; i < COUNTERS; i++) {
              sum += Number(tx.get(table, keyOf(i))?.toString())
              if (i % 20 === 0) await new Promise(resolve => setTimeout(resolve, 3))
            }
            tx.put(table, Buffer.from('sum'), Buffer.from(String(sum)))
          })
        }
        // Without the reservation it would take luck: between two of its reads the others commit dozens of times.
        expect(attempts, `attempts, seed ${seed}`).toBeLessThan(60)
        for (const peer of peers) peer.tell('stop')
      },
    )
  }, 300_000)
})
