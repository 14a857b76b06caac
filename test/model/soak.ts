/**
 * A steady load: random updates, deletions and reinsertions of rows of all sizes, by several processes, with figures taken
 * at even distances. Growth without an end shows as a rising line.
 *
 * node test/dist/model/soak.js --minutes 1 [--processes 2]
 */
import { parseArgs } from 'node:util'
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import type { Table } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { diskFigures } from './figures.js'
import { argument, describeError, inTemporaryDirectory, Peer, report, runPeer } from './processes.js'
import { randomValue } from './random-rows.js'

export interface SoakWork {
  directory: string
  engine: InternalOptions
  seconds: number
  seed: number
}

export interface SoakFigures {
  dataBytes: number
  logBytes: number
  ringUsed: number
  keptBytes: number
  usedBlocks: number
  pages: number
}

const KEYS = 4000
const TABLE = 'rows'
const QUEUE_TABLE = 'queue'
const QUEUE_LENGTH = 2000
const KIB = 1024

const options: InternalOptions = {
  pageSize: 4096,
  frames: 256,
  logRingBytes: 256 * KIB,
  versionRingBytes: 256 * KIB,
  segmentBytes: 256 * KIB,
  checkpointBytes: 1024 * KIB,
  durability: 'none',
}

/** One process of the load. */
async function load(work: SoakWork): Promise<void> {
  const engine = await openEngine(work.directory, work.engine)
  const table = engine.openTable(TABLE)
  const random = new SeededRandom(work.seed)
  const end = performance.now() + work.seconds * 1000
  const queue = engine.openTable(QUEUE_TABLE)
  let operations = 0
  let pushed = 0
  while (performance.now() < end) {
    engine.transactSync(
      tx => {
        for (let i = random.between(1, 20); i > 0; i--) {
          const key = Buffer.from(`key ${random.below(KEYS)}`)
          if (random.chance(0.4)) tx.delete(table, key)
          else tx.put(table, key, randomValue(random, 4096, 20_000))
          operations++
        }
      },
      { durability: 'none', isolation: 'snapshot' },
    )
    for (let i = random.below(12); i > 0; i--) shiftQueue(engine, queue, work, random, pushed++)
    if (random.chance(0.05)) {
      using snapshot = engine.snapshot()
      snapshot.count(table, {})
      await new Promise(resolve => setTimeout(resolve, random.below(20)))
    }
    if (random.chance(0.1)) await new Promise(resolve => setImmediate(resolve))
  }
  await report(operations)
  await engine.close()
}

/** Keys that never come again: what is left of them must go, or the tree grows without holding more. */
function shiftQueue(engine: HyphaEngine, queue: Table, work: SoakWork, random: SeededRandom, at: number): void {
  const keyAt = (n: number): Buffer => Buffer.from(`${work.seed} ${String(n).padStart(10, '0')}`)
  const value = random.bytes(random.below(100))
  engine.transactSync(
    tx => {
      tx.put(queue, keyAt(at), value)
      if (at >= QUEUE_LENGTH) tx.delete(queue, keyAt(at - QUEUE_LENGTH))
    },
    { durability: 'none', isolation: 'snapshot' },
  )
}

/** Runs the load and returns the figures of each of `parts` stretches of time: the largest seen in it. */
export async function soak(
  seconds: number,
  processes: number,
  parts: number,
  tell: (line: string) => void,
): Promise<SoakFigures[]> {
  const found: SoakFigures[] = []
  const seed = testSeed()
  await inTemporaryDirectory(async directory => {
    const engine = await openEngine(directory, options)
    const script = new URL('./soak.js', import.meta.url).href
    const peers = Array.from({ length: processes }, (_, i) => {
      const work: SoakWork = { directory, engine: options, seconds, seed: seed + i }
      return new Peer<number>(script, work)
    })
    for (let part = 0; part < parts; part++) {
      const largest: SoakFigures = { dataBytes: 0, logBytes: 0, ringUsed: 0, keptBytes: 0, usedBlocks: 0, pages: 0 }
      for (let look = 0; look < 20; look++) {
        await new Promise(resolve => setTimeout(resolve, (seconds * 1000) / parts / 20))
        const { data, versions } = engine.stats()
        const now: SoakFigures = {
          ...diskFigures(directory),
          ringUsed: versions.ringUsed,
          keptBytes: versions.keptBytes,
          usedBlocks: data.blocks - data.freeBlocks,
          pages: data.pages,
        }
        for (const name of Object.keys(largest) as (keyof SoakFigures)[])
          largest[name] = Math.max(largest[name], now[name])
      }
      found.push(largest)
      tell(JSON.stringify(largest))
    }
    const operations = await Promise.all(peers.map(peer => peer.next()))
    await Promise.all(peers.map(peer => peer.ended))
    tell(`${operations.reduce((sum, each) => sum + each, 0)} operations, seed ${seed}`)
    const { faults } = await engine.verify()
    if (faults.length > 0) throw new Error(`seed ${seed}: verify finds ${JSON.stringify(faults.slice(0, 4))}`)
    await engine.close()
  })
  return found
}

/** What has not levelled off: figures of the last stretch that lie well above those of the middle. */
export function growing(figures: readonly SoakFigures[]): string[] {
  const middle = figures[figures.length >> 1] as SoakFigures
  const last = figures[figures.length - 1] as SoakFigures
  const allowed: SoakFigures = {
    dataBytes: 4 << 20,
    logBytes: 2 << 20,
    ringUsed: 0,
    keptBytes: 1 << 20,
    usedBlocks: 400,
    pages: 400,
  }
  return (Object.keys(allowed) as (keyof SoakFigures)[])
    .filter(name => name !== 'ringUsed' && last[name] > middle[name] * 1.25 + allowed[name])
    .map(name => `${name}: ${figures.map(each => each[name]).join(', ')}`)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { minutes: { type: 'string', default: '1' }, processes: { type: 'string', default: '2' } },
  })
  const figures = await soak(Number(values.minutes) * 60, Number(values.processes), 10, line => console.log(line))
  const faults = growing(figures)
  console.log(faults.length === 0 ? 'all figures level off' : `still growing: ${faults.join('; ')}`)
  process.exitCode = faults.length === 0 ? 0 : 1
}

if (process.argv[1]?.endsWith('/soak.js') === true) {
  if (process.send !== undefined) runPeer(() => load(argument<SoakWork>()))
  else
    main().catch((error: unknown) => {
      console.error(describeError(error as Error))
      process.exitCode = 1
    })
}
