/** One run of the model: settings that follow from a seed, in one process or several. */
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { ModelDriver, type ModelSettings } from './driver.js'
import { inTemporaryDirectory, Peer } from './processes.js'
import { createSharedRows } from './shared-rows.js'

export interface ModelRun {
  seed: number
  processes: number
  operations: number
  pageSize: number
}

/** Budgets of a few pages, rings that go round often, a checkpoint every few rows. */
export function tightOptions(random: SeededRandom, pageSize: number, processes: number): InternalOptions {
  const rings = pageSize >= 65536 ? 262144 : 65536
  return {
    pageSize,
    frames: random.between(processes > 1 ? 16 : 8, 64),
    segmentBytes: 65536,
    logRingBytes: rings << random.below(3),
    versionRingBytes: rings << random.below(3),
    checkpointBytes: 65536 << random.below(3),
    housekeeping: random.chance(0.5) ? 'none' : 'worker',
    durability: 'interval',
  }
}

export async function runModel(run: ModelRun): Promise<void> {
  const random = new SeededRandom(run.seed)
  const engine = tightOptions(random, run.pageSize, run.processes)
  const settings = (directory: string, index: number): ModelSettings => ({
    directory,
    seed: run.seed + index,
    operations: run.operations,
    engine,
    prefix: run.processes === 1 ? '' : String.fromCharCode(0x20 + index * 2),
    keys: random.between(20, 400),
    largest: random.chance(0.3) ? 1 << 20 : 100_000,
    shared: run.processes > 1,
    reopen: true,
  })
  await inTemporaryDirectory(async directory => {
    if (run.processes === 1) return new ModelDriver(settings(directory, 0)).run()
    const first = await openEngine(directory, engine)
    try {
      await createSharedRows(first)
      const script = new URL('./model-worker.js', import.meta.url).href
      const peers = Array.from({ length: run.processes }, (_, index) => new Peer(script, settings(directory, index)))
      await Promise.all(peers.map(peer => peer.ended))
      const { faults } = await first.verify()
      if (faults.length > 0) throw new Error(`seed ${run.seed}: verify finds ${JSON.stringify(faults.slice(0, 4))}`)
    } finally {
      await first.close()
    }
  })
}
