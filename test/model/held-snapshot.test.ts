/** A reader that holds its snapshot while everything is rewritten; and one that holds it too long. */

import { armFault, disarmFaults } from 'hyphadb/internal/base/fault-points.js'
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import type { Reader, Snapshot } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { afterEach, describe, expect, it } from 'vitest'
import { diskFigures } from './figures.js'
import { inTemporaryDirectory, Peer } from './processes.js'
import { type RewriterWork, ROWS_TABLE, rewrite, rowKey, rowValue } from './rewriter.js'

const MIB = 1024 * 1024
const seed = testSeed()

/** Every row as of one round, in order and by a count. */
function checkAll(reader: Reader, engine: HyphaEngine, rows: number, round: number): void {
  const table = engine.openTable(ROWS_TABLE)
  const cursor = reader.range(table, {})
  let row = 0
  while (cursor.next()) {
    const value = cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)
    if (Buffer.compare(cursor.key(), rowKey(row)) !== 0) throw new Error(`row ${row} has another key`)
    if (Buffer.compare(value, rowValue(row, round)) !== 0)
      throw new Error(`row ${row} is of round ${value.readUInt32LE(4)}, not ${round}`)
    row++
  }
  expect(row).toBe(rows)
  expect(reader.count(table, {})).toBe(rows)
}

function checkSome(reader: Reader, engine: HyphaEngine, rows: number, round: number, random: SeededRandom): void {
  const table = engine.openTable(ROWS_TABLE)
  for (let i = 0; i < 50; i++) {
    const row = random.below(rows)
    const value = reader.get(table, rowKey(row))
    if (value === undefined || Buffer.compare(value, rowValue(row, round)) !== 0) {
      throw new Error(
        `row ${row} is ${value === undefined ? 'missing' : `of round ${value.readUInt32LE(4)}`}, not of ${round}, seed ${seed}`,
      )
    }
  }
  const from = random.below(rows - 100)
  const cursor = reader.range(table, { gte: rowKey(from), limit: 100, reverse: false })
  for (let row = from; cursor.next(); row++) {
    if (Buffer.compare(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd), rowValue(row, round)) !== 0) {
      throw new Error(`row ${row} of a range differs, seed ${seed}`)
    }
  }
}

const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

describe('a held snapshot', () => {
  const rows = 100_000
  const rounds = 5
  const options: InternalOptions = {
    pageSize: 4096,
    frames: 2048,
    logRingBytes: MIB,
    versionRingBytes: MIB,
    segmentBytes: MIB,
    checkpointBytes: 8 * MIB,
    durability: 'none',
  }

  it('shows the same rows while another process rewrites them five times, at a bounded cost, and gives all back', async () => {
    await inTemporaryDirectory(async directory => {
      const engine = await openEngine(directory, options)
      await rewrite(engine, rows, 0)
      await engine.checkpoint()
      const before = diskFigures(directory)
      const snapshot = engine.snapshot()
      const work: RewriterWork = { directory, engine: options, rows, from: 1, to: rounds }
      const writer = new Peer<number>(new URL('./rewriter.js', import.meta.url).href, work)
      const largest = await watchOver(engine, snapshot, writer, directory)
      checkAll(snapshot, engine, rows, 0)
      checkAll(engine.latest, engine, rows, rounds)
      // One old version of each row, with its key twice and two numbers, and the room that a tree leaves in its pages.
      const oneVersionEach = rows * 200
      expect(largest.keptBytes).toBeGreaterThan(rows * 60)
      expect(largest.keptBytes).toBeLessThan(oneVersionEach)
      expect(largest.dataBytes).toBeLessThan(before.dataBytes * 3 + oneVersionEach * 3)
      expect(largest.logBytes).toBeLessThan(64 * MIB)
      snapshot.close()
      await giveBack(engine, largest)
      expect((await engine.verify()).faults).toEqual([])
      checkAll(engine.latest, engine, rows, rounds)
      await shrink(engine, directory, largest)
      await engine.close()
    })
  }, 300_000)

  /** With more than half of the file free, its end goes back to the file system. */
  async function shrink(engine: HyphaEngine, directory: string, largest: Largest): Promise<void> {
    const table = engine.openTable(ROWS_TABLE)
    for (let first = rows / 4; first < rows; first += 500) {
      engine.transactSync(
        tx => {
          for (let row = first; row < first + 500; row++) tx.delete(table, rowKey(row))
        },
        { durability: 'none' },
      )
    }
    const deadline = performance.now() + 30_000
    while (diskFigures(directory).dataBytes > largest.dataBytes / 2) {
      if (performance.now() > deadline) {
        throw new Error(
          `the file stays as long as it is: ${JSON.stringify({ ...diskFigures(directory), ...engine.stats().data })}`,
        )
      }
      await engine.checkpoint()
      await pause(50)
    }
    checkAll(engine.latest, engine, rows / 4, rounds)
    expect((await engine.verify()).faults).toEqual([])
  }

  interface Largest {
    keptBytes: number
    dataBytes: number
    logBytes: number
    usedBlocks: number
  }

  async function watchOver(
    engine: HyphaEngine,
    snapshot: Snapshot,
    writer: Peer<number>,
    directory: string,
  ): Promise<Largest> {
    const random = new SeededRandom(seed)
    const largest: Largest = { keptBytes: 0, dataBytes: 0, logBytes: 0, usedBlocks: 0 }
    let running = true
    const ended = writer.ended.finally(() => {
      running = false
    })
    while (running) {
      checkSome(snapshot, engine, rows, 0, random)
      const { versions, data } = engine.stats()
      const disk = diskFigures(directory)
      largest.keptBytes = Math.max(largest.keptBytes, versions.keptBytes)
      largest.usedBlocks = Math.max(largest.usedBlocks, data.blocks - data.freeBlocks)
      largest.dataBytes = Math.max(largest.dataBytes, disk.dataBytes)
      largest.logBytes = Math.max(largest.logBytes, disk.logBytes)
      await pause(20)
    }
    await ended
    return largest
  }

  /** Old versions, their pages and blocks, and the end of the file: within seconds, with nobody writing. */
  async function giveBack(engine: HyphaEngine, largest: Largest): Promise<void> {
    const deadline = performance.now() + 30_000
    for (;;) {
      await engine.checkpoint()
      const { versions, data, snapshots } = engine.stats()
      expect(snapshots.open).toBe(0)
      const used = data.blocks - data.freeBlocks
      if (versions.keptBytes === 0 && versions.ringUsed === 0 && used < largest.usedBlocks * 0.75) return
      if (performance.now() > deadline)
        throw new Error(`not given back: ${JSON.stringify({ versions, data, largest })}`)
      await pause(100)
    }
  }
})

describe('beyond the limit of old versions', () => {
  it('the oldest snapshot is told so, and those after it go on', async () => {
    await inTemporaryDirectory(async directory => {
      const options: InternalOptions = {
        pageSize: 4096,
        frames: 512,
        logRingBytes: 262144,
        versionRingBytes: 65536,
        segmentBytes: 262144,
        snapshotBytes: MIB,
        durability: 'none',
        housekeeping: 'none',
      }
      const engine = await openEngine(directory, options)
      const other = await openEngine(directory, options)
      const rows = 12_000
      await rewrite(engine, rows, 0)
      const oldest = engine.snapshot()
      await rewrite(other, 5000, 1) // about 700 KB of versions that the oldest needs
      checkSome(oldest, engine, rows, 0, new SeededRandom(seed + 1))
      const second = engine.snapshot()
      const third = other.snapshot()
      await rewrite(other, 5000, 2) // as much again: the limit is passed
      other.housekeep()
      expect(() => oldest.get(engine.openTable(ROWS_TABLE), rowKey(1))).toThrow(
        expect.objectContaining({ code: 'HYPHA_SNAPSHOT_TOO_OLD' }),
      )
      expect(() => oldest.count(engine.openTable(ROWS_TABLE), {})).toThrow(
        expect.objectContaining({ code: 'HYPHA_SNAPSHOT_TOO_OLD' }),
      )
      expect(() => oldest.range(engine.openTable(ROWS_TABLE), {}).next()).toThrow(
        expect.objectContaining({ code: 'HYPHA_SNAPSHOT_TOO_OLD' }),
      )
      for (const [snapshot, from] of [
        [second, engine],
        [third, other],
      ] as const) {
        const table = from.openTable(ROWS_TABLE)
        for (let row = 0; row < rows; row += 7) {
          expect(snapshot.get(table, rowKey(row))?.readUInt32LE(4)).toBe(row < 5000 ? 1 : 0)
        }
        expect(snapshot.count(table, {})).toBe(rows)
      }
      for (const snapshot of [oldest, second, third]) snapshot.close()
      for (let i = 0; i < 20; i++) engine.housekeep()
      expect(engine.stats().versions.keptBytes).toBe(0)
      expect((await engine.verify()).faults).toEqual([])
      await other.close()
      await engine.close()
    })
  }, 120_000)
})

describe('a snapshot that is slow to begin', () => {
  afterEach(() => disarmFaults())

  it('is not let in by a floor that is lowered for it after versions have been given up', async () => {
    await inTemporaryDirectory(async directory => {
      const options: InternalOptions = { pageSize: 4096, frames: 512, durability: 'none', housekeeping: 'none' }
      const engine = await openEngine(directory, options)
      const other = await openEngine(directory, options)
      const rows = 500
      await rewrite(other, rows, 0)
      armFault('snapshot.begin', 1, () => {
        const table = other.openTable(ROWS_TABLE)
        other.transactSync(tx => {
          for (let row = 0; row < rows; row++) tx.put(table, rowKey(row), rowValue(row, 1))
        })
        other.housekeep()
        expect(other.stats().versions.ringUsed).toBe(0)
        armFault('snapshot.stored', 1, () => {
          other.transactSync(tx => tx.put(table, rowKey(0), rowValue(0, 1)))
          other.housekeep()
        })
      })
      const snapshot = engine.snapshot()
      checkAll(snapshot, engine, rows, 1)
      snapshot.close()
      await other.close()
      await engine.close()
    })
  })

  it('does not begin where versions between two others have been given up', async () => {
    await inTemporaryDirectory(async directory => {
      const options: InternalOptions = {
        pageSize: 4096,
        frames: 512,
        logRingBytes: 262144,
        versionRingBytes: 65536,
        durability: 'none',
        housekeeping: 'none',
      }
      const engine = await openEngine(directory, options)
      const other = await openEngine(directory, options)
      const rows = 1000
      await rewrite(other, rows, 0)
      const oldest = other.snapshot()
      await rewrite(other, rows, 1)
      const values = new Map<string, Buffer>()
      armFault('snapshot.begin', 1, () => {
        // The newest sequence has been read and not been stored yet: round 1 is needed by nobody who can be seen.
        const table = other.openTable(ROWS_TABLE)
        for (let round = 2; round <= 4; round++) {
          other.transactSync(tx => {
            for (let row = 0; row < rows; row++) tx.put(table, rowKey(row), rowValue(row, round))
          })
        }
      })
      const snapshot = engine.snapshot()
      const cursor = snapshot.range(engine.openTable(ROWS_TABLE), {})
      while (cursor.next())
        values.set(
          Buffer.from(cursor.key()).toString(),
          Buffer.from(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)),
        )
      expect(values.size).toBe(rows)
      expect(new Set([...values.values()].map(value => value.readUInt32LE(4)))).toEqual(new Set([4]))
      checkAll(oldest, other, rows, 0)
      oldest.close()
      snapshot.close()
      await other.close()
      await engine.close()
    })
  })
})
