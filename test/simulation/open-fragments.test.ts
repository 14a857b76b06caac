/**
 * A checkpoint in the middle of somebody's large transaction, some fragments of which are in the log, and a power failure
 * at any operation from then on: recovery begins at the first fragment, finds the transaction whole or forgets it.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isHyphaError } from 'hyphadb/internal/base/errors.js'
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { afterAll, expect, test } from 'vitest'
import { SimulatedDisk } from './simulated-disk.js'

const root = mkdtempSync(join(tmpdir(), 'hyphadb-fragments-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const ROWS = 12
const VALUE_BYTES = 6000
/** A failure at each of these many operations. */
const STRIDE = 5

function open(disk: SimulatedDisk, memory: string): Promise<HyphaEngine> {
  const directory = join(disk.mount, 'db')
  for (const path of [directory, memory]) mkdirSync(path, { recursive: true })
  return openEngine(directory, {
    files: disk,
    sharedMemoryDirectory: memory,
    pageSize: 4096,
    frames: 96,
    segmentBytes: 8192,
    logRingBytes: 16_384,
    versionRingBytes: 65_536,
    checkpointBytes: 1,
    housekeeping: 'none',
    // Nothing is synced but by who waits for it.
    flushIntervalMs: 60_000,
    busyTimeoutMs: 500,
  })
}

function rowsOf(engine: HyphaEngine): string[] {
  const cursor = engine.range(engine.openTable('t'))
  const rows: string[] = []
  while (cursor.next())
    rows.push(`${cursor.keyBuffer.latin1Slice(0, cursor.keyLength)}=${cursor.valueEnd - cursor.valueStart}`)
  cursor.close()
  return rows
}

test('a checkpoint amid the fragments of a transaction, and a power failure at any operation after it', {
  timeout: 120_000,
}, async () => {
  const random = new SeededRandom(testSeed())
  let amid = 0
  for (let round = 0; round < 3; round++) {
    const disk = new SimulatedDisk(join(root, `live-${round}`))
    const memory = join(root, `memory-${round}`)
    const [writer, other] = [await open(disk, memory), await open(disk, memory)]
    const table = writer.openTable('t')
    await writer.put(table, Buffer.from('before'), Buffer.alloc(10))
    const failures: { disk: SimulatedDisk; whole: boolean; where: string }[] = []
    let committing = false
    let committed = false
    let allocations = 0
    let inCheckpoint = false
    let count = random.below(STRIDE)
    disk.onOperation = (kind, path) => {
      if (!committing) return
      if (amid > round && count++ % STRIDE === 0)
        failures.push({ disk: disk.afterPowerLoss(random.fork()), whole: committed, where: `${kind} ${path}` })
      if (inCheckpoint || kind !== 'truncate' || ++allocations !== 2 + round) return
      inCheckpoint = true
      const epoch = other.stats().checkpoint.epoch
      amid++
      try {
        other.housekeep()
      } catch (error) {
        // Behind the checkpoint it would recycle segments, and the writer is allocating one.
        if (!isHyphaError(error, 'HYPHA_BUSY')) throw error
      }
      expect(other.stats().checkpoint.epoch).toBeGreaterThan(epoch)
    }
    committing = true
    const done = writer.transact(tx => {
      for (let n = 0; n < ROWS; n++)
        tx.put(table, Buffer.from(`row${String(n).padStart(2, '0')}`), random.bytes(VALUE_BYTES))
    })
    await done
    committed = true
    await writer.put(table, Buffer.from('behind'), Buffer.alloc(10))
    disk.onOperation = undefined
    expect(amid).toBe(round + 1)
    expect(failures.length).toBeGreaterThan(3)
    const before = ['before=10']
    const all = [
      ...before,
      ...Array.from({ length: ROWS }, (_, n) => `row${String(n).padStart(2, '0')}=${VALUE_BYTES}`),
    ]
    for (const [n, failure] of failures.entries()) {
      failure.disk.mount = join(root, `after-${round}-${n}`)
      const where = `seed ${random.seed}, round ${round}, ${failure.where}`
      const engine = await open(failure.disk, join(failure.disk.mount, 'memory')).catch((error: unknown) => {
        throw new Error(`${where}: ${String(error)}`, { cause: error })
      })
      const rows = rowsOf(engine)
        .filter(row => row !== 'behind=10')
        .sort()
      const isWhole = rows.length > 1
      expect(rows, where).toEqual(isWhole ? all : before)
      if (failure.whole) expect(isWhole, where).toBe(true)
      expect((await engine.verify()).faults, where).toEqual([])
      await engine.close()
      rmSync(failure.disk.mount, { recursive: true, force: true })
    }
    await other.close()
    await writer.close()
  }
})
