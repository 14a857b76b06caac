import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { HyphaError } from '../base/errors.js'
import { SeededRandom, testSeed } from '../base/random.js'
import { Child, endChildren } from '../os/children.test.helper.js'
import { GrowableMapping } from '../os/shared-memory.js'
import {
  databaseId,
  noLatch,
  type ReadLog,
  readAll,
  removeTemporaryDirectories,
  SHARED_BYTES,
  SharedLog,
  TestLog,
  temporaryDirectory,
} from './log-fixture.test.helper.js'
import { POISON_SYNC_FAILED, POISON_WRITE_FAILED } from './ring.js'
import { salvageRing } from './salvage.js'
import { segmentName } from './segments.js'
import { SimulatedDisk } from './simulated-disk.test.helper.js'
import { LogWriter } from './writer.js'

const directory = '/log'

afterEach(async () => {
  await endChildren()
  removeTemporaryDirectories()
})

function simulated(segmentBytes = 8192): { disk: SimulatedDisk; log: TestLog; random: SeededRandom } {
  const disk = new SimulatedDisk()
  return { disk, log: new TestLog(directory, { files: disk, segmentBytes }), random: new SeededRandom(testSeed()) }
}

function secondWriter(disk: SimulatedDisk, log: TestLog): LogWriter {
  const { ring } = log
  return new LogWriter({ files: disk, directory, databaseId, ring, writeLatch: noLatch, allocationLatch: noLatch })
}

describe('log writer', () => {
  test('all who wait when a sync begins share it', async () => {
    const { disk, log, random } = simulated(1 << 20)
    const before = disk.syncs
    const waits = Array.from({ length: 32 }, () => log.writer.whenDurable(log.put(random, 100)))
    expect(new Set(waits).size).toBe(1)
    await Promise.all(waits)
    expect(disk.syncs - before).toBe(1)
    expect(log.ring.durable).toBe(log.ring.tail)
    // The next turn again, each from the continuation of its own wait.
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) await log.writer.whenDurable(log.put(random, 100))
    }
    const then = disk.syncs
    await Promise.all(Array.from({ length: 32 }, worker))
    expect(disk.syncs - then).toBeLessThanOrEqual(6)
    await log.writer.whenDurable(log.ring.durable)
    await log.writer.sync()
  })

  for (const way of ['on this thread', 'off this thread'] as const) {
    test(`a sync ${way} covers what other writers wrote, in every segment`, async () => {
      const { disk, log, random } = simulated()
      const other = secondWriter(disk, log)
      while (log.ring.tail < 4096 * 3 + 100) log.put(random, 200)
      log.writer.write()
      while (log.ring.tail < 4096 * 4 + 100) log.put(random, 200)
      other.write()
      const synced: string[] = []
      disk.onOperation = (kind, name) => {
        if (kind === 'sync') synced.push(name)
      }
      if (way === 'on this thread') other.syncSync()
      else await other.sync()
      expect(synced.map(name => Number.parseInt(name, 10))).toEqual([1, 2, 3, 4, 5])
      expect(log.ring.durable).toBe(log.ring.tail)
      disk.crash(random)
      expect(readAll(directory, { files: disk }).records).toHaveLength(log.sequence)
    })
  }

  test('who waits alone on a quick disk is served at once, and others share as before', async () => {
    const { disk, log, random } = simulated(1 << 20)
    for (let i = 0; i < 40; i++) await log.writer.whenDurable(log.put(random, 100))
    const before = disk.syncs
    const wait = log.writer.whenDurable(log.put(random, 100))
    log.writer.syncSync()
    await wait
    expect(disk.syncs - before).toBe(1)
    const durable = log.ring.durable
    expect(durable).toBe(log.ring.tail)
    disk.crash(random)
    expect(readAll(directory, { files: disk })).toMatchObject({ end: durable })
  })

  for (const [kind, reason] of [
    ['write', POISON_WRITE_FAILED],
    ['sync', POISON_SYNC_FAILED],
  ] as const) {
    test(`a failed ${kind} poisons the log for everybody, and durable stays`, async () => {
      const { disk, log, random } = simulated(1 << 20)
      const other = secondWriter(disk, log)
      log.put(random, 100)
      log.writer.syncSync()
      const durable = log.ring.durable
      const end = log.put(random, 100)
      disk.onOperation = operation => {
        if (operation === kind) throw new HyphaError('HYPHA_IO', 'the simulated disk failed (EIO)')
      }
      await expect(log.writer.whenDurable(end)).rejects.toMatchObject({ code: 'HYPHA_POISONED' })
      disk.onOperation = undefined
      expect(log.ring.poison).toBe(reason)
      expect(log.ring.durable).toBe(durable)
      for (const writer of [log.writer, other]) {
        await expect(writer.whenDurable(end)).rejects.toMatchObject({ code: 'HYPHA_POISONED' })
        expect(() => writer.syncSync()).toThrow(/failed earlier/)
        expect(() => writer.write()).toThrow(/failed earlier/)
        expect(() => writer.reserve(1 << 22)).toThrow(/failed earlier/)
      }
      expect(log.ring.durable).toBe(durable)
    })
  }

  test('a sync that succeeds while another one fails is not believed', async () => {
    const { disk, log, random } = simulated(1 << 20)
    const end = log.put(random, 100)
    disk.onOperation = kind => {
      if (kind === 'sync') log.ring.setPoison(POISON_SYNC_FAILED)
    }
    await expect(log.writer.whenDurable(end)).rejects.toMatchObject({ code: 'HYPHA_POISONED' })
    expect(log.ring.durable).toBe(0)
  })

  test('room that cannot be had is an error before the commit, and leaves the log usable', () => {
    const { disk, log, random } = simulated()
    disk.freeSpace = 10_000
    expect(() => log.writer.reserve(30_000)).toThrow(/full/)
    expect(log.ring.poison).toBe(0)
    expect(log.writer.hasRoom(30_000)).toBe(false)
    log.put(random, 100)
    log.writer.syncSync()
    disk.freeSpace = Infinity
    log.writer.reserve(30_000)
    expect(log.writer.hasRoom(30_000)).toBe(true)
  })

  test('a gate that is shut stops every change of files', () => {
    const disk = new SimulatedDisk()
    const log = new TestLog(directory, { files: disk, segmentBytes: 8192 })
    let inside = 0
    let dead = false
    const gate = {
      enter: () => {
        if (dead) throw new HyphaError('HYPHA_CLOSED', 'another generation')
        inside++
      },
      leave: () => void inside--,
      check: () => {
        if (dead) throw new HyphaError('HYPHA_CLOSED', 'another generation')
      },
    }
    const { ring } = log
    const latches = { writeLatch: noLatch, allocationLatch: noLatch }
    const writer = new LogWriter({ files: disk, directory, databaseId, ring, ...latches, gate })
    log.commit(encoder => encoder.put(1, Buffer.from('a'), Buffer.from('b')))
    disk.onOperation = kind => {
      if (kind !== 'allocate') expect(inside).toBe(1)
    }
    writer.syncSync()
    writer.reserve(9000)
    log.commit(encoder => encoder.put(1, Buffer.from('a'), Buffer.from('b')))
    dead = true
    disk.onOperation = kind => {
      throw new Error(`no ${kind} behind a shut gate`)
    }
    expect(() => writer.write()).toThrow(/another generation/)
    expect(() => writer.reserve(90_000)).toThrow(/another generation/)
    expect(() => writer.recycle(0)).toThrow(/another generation/)
    expect(ring.poison).toBe(0)
    expect(inside).toBe(0)
  })

  test('a closed writer says so, after what was under way', async () => {
    const { log, random } = simulated()
    const wait = log.writer.whenDurable(log.put(random, 10))
    await log.close()
    await wait
    expect(() => log.writer.write()).toThrow(/closed/)
    log.encoder.reset()
    const end = log.ring.tail + log.encoder.stageStub(log.ring, log.ring.tail, 2, 1)
    log.ring.publishTail(end)
    await expect(log.writer.whenDurable(end)).rejects.toMatchObject({ code: 'HYPHA_CLOSED' })
  })

  test('recycled segments are bounded, and what they held never comes back', () => {
    const { disk, log, random } = simulated()
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 60; i++) log.put(random, random.below(300))
      log.writer.syncSync()
      log.writer.recycle(log.ring.durable)
      expect(disk.list().length).toBeLessThan(12)
    }
    const last = log.ring.durable
    expect(readAll(directory, { files: disk, from: last })).toMatchObject({ records: [], end: last })
    for (let i = 0; i < 3; i++) log.put(random, 3000)
    log.writer.write()
    expect(readAll(directory, { files: disk, from: last }).records).toHaveLength(3)
  })
})

describe('several processes on one log', () => {
  function shared(busyTimeoutMs?: number): { path: string; log: SharedLog } {
    const root = temporaryDirectory()
    const path = join(root, 'memory')
    const mapping = GrowableMapping.create(path, SHARED_BYTES)
    mapping.grow(SHARED_BYTES)
    const log = new SharedLog(mapping.view, root, 1, busyTimeoutMs)
    return { path, log }
  }

  const preamble = `
const [path, directory, id] = process.argv.slice(1)
const { GrowableMapping } = await load('os/shared-memory.js')
const { SharedLog, SHARED_BYTES } = await load('log/log-fixture.test.helper.js')
const { armFault } = await load('base/fault-points.js')
const mapping = GrowableMapping.open(path, SHARED_BYTES)
mapping.follow(SHARED_BYTES)
const log = new SharedLog(mapping.view, directory, Number(id))
`

  function expectAll(log: ReadLog, counts: Map<number, number>): void {
    const seen = new Map<number, number>()
    log.records.forEach((record, i) => {
      expect(record.sequence).toBe(i + 1)
      const { tableId, key } = record.operations[0]!
      const count = seen.get(tableId) ?? 0
      expect(key.toString()).toBe(String(count))
      seen.set(tableId, count + 1)
    })
    expect(seen).toEqual(counts)
  }

  test('write and sync together, and everything that was awaited is there', async () => {
    const { path, log } = shared()
    log.begin(1 << 16)
    const commits = 1500
    const source = `${preamble}
let last = 0
for (let i = 0; i < ${commits}; i++) {
  const end = log.commit(i, Buffer.alloc((i * 37) % 300, 65))
  if (i % 7 === 0) { await log.writer.whenDurable(end); if (log.ring.durable < last) throw new Error('durable fell'); last = log.ring.durable }
  if (i % 50 === 0) log.writer.syncSync()
}
await log.writer.sync()
say('done ' + log.ring.durable)
await log.writer.close()
`
    const children = [2, 3].map(id => new Child(source, path, log.directory, String(id)))
    for (const child of children) expect(await child.next()).toMatch(/^done /)
    expect(log.ring.durable).toBe(log.ring.tail)
    const all = readAll(log.directory, { durableThrough: log.ring.durable })
    expectAll(
      all,
      new Map([
        [2, commits],
        [3, commits],
      ]),
    )
  }, 30_000)

  const points = [
    'log-write-begin:1',
    'log-write-piece:1',
    'log-write-piece:2',
    'log-write-done:1',
    'log-write-done:2',
    'log-sync-done:1',
    'log-allocate-space:1',
    'log-allocate-header:1',
    'log-allocate-named:1',
    'log-allocate-synced:1',
    'log-recycle:2',
  ]
  for (const name of points) {
    test(`a process killed at ${name} loses nothing, and the next one goes on`, async () => {
      const { path, log } = shared()
      log.begin(8192)
      const [point, count] = name.split(':')
      const source = `${preamble}
for (let i = 0; i < 40; i++) log.commit(i, Buffer.alloc(250, i))
log.writer.syncSync()
for (let i = 40; i < 60; i++) log.commit(i, Buffer.alloc(250, i))
say('armed')
armFault('${point}', ${count}, 'kill')
log.writer.reserve(20000)
log.writer.write()
log.commit(60, Buffer.alloc(250, 60))
log.writer.syncSync()
log.writer.recycle(log.ring.segmentStart(4))
say('not killed')
`
      const child = new Child(source, path, log.directory, '2')
      expect(await child.next()).toBe('armed')
      expect((await child.exited).signal).toBe('SIGKILL')
      log.bury(2)
      const tail = log.ring.tail
      log.commit(0, Buffer.alloc(9000, 1))
      log.writer.syncSync()
      const from = point === 'log-recycle' ? log.ring.segmentStart(4) : 0
      if (from === 0) {
        const all = readAll(log.directory, { durableThrough: log.ring.durable })
        expect(all.records.at(-2)!.position + all.records.at(-2)!.total).toBe(tail)
        expectAll(
          all,
          new Map([
            [1, 1],
            [2, all.records.length - 1],
          ]),
        )
        expect(all.records.length).toBeGreaterThanOrEqual(61)
      }
      log.writer.recycle(log.ring.segmentStart(4))
      log.commit(1, Buffer.alloc(9000, 2))
      log.commit(2, Buffer.alloc(9000, 2))
      log.writer.syncSync()
      await log.writer.close()
    }, 20_000)
  }

  test('a process stopped inside the write latch holds up the disk, harms nothing, and goes on when it wakes', async () => {
    const { path, log } = shared(300)
    log.begin(8192)
    const source = `${preamble}
for (let i = 0; i < 30; i++) log.commit(i, Buffer.alloc(250, i))
armFault('log-write-begin', 1, 'stop')
say('stopping')
log.writer.syncSync()
say('awake')
log.commit(30, Buffer.alloc(250, 30))
log.writer.syncSync()
say('done')
`
    const child = new Child(source, path, log.directory, '2')
    expect(await child.next()).toBe('stopping')
    await new Promise(resolve => setTimeout(resolve, 100))
    const end = log.commit(0, Buffer.alloc(100))
    expect(() => log.writer.write()).toThrow(/held/)
    await expect(log.writer.whenDurable(end)).rejects.toMatchObject({ code: 'HYPHA_BUSY' })
    expect(log.ring.poison).toBe(0)
    child.process.kill('SIGCONT')
    expect(await child.next()).toBe('awake')
    await log.writer.whenDurable(end)
    expect(await child.next()).toBe('done')
    expectAll(
      readAll(log.directory),
      new Map([
        [2, 31],
        [1, 1],
      ]),
    )
  }, 20_000)
})

describe('salvage', () => {
  /** A log with `written` records on disk and more in its ring. */
  function left(random: SeededRandom): { disk: SimulatedDisk; log: TestLog } {
    const { disk, log } = simulated()
    for (let i = 0; i < 30; i++) log.put(random, 200)
    log.writer.syncSync()
    for (let i = 0; i < 20; i++) log.put(random, 200)
    log.writer.write()
    for (let i = 0; i < 25; i++) log.put(random, 200)
    return { disk, log }
  }

  function salvage(disk: SimulatedDisk, log: TestLog, ring = log.ring): ReturnType<typeof salvageRing> {
    const { end } = readAll(directory, { files: disk })
    return salvageRing({ files: disk, directory, databaseId, ring, logEnd: end })
  }

  test('what only the ring had is in the log afterwards, durably', () => {
    const random = new SeededRandom(testSeed())
    const { disk, log } = left(random)
    expect(salvage(disk, log)).toEqual({ end: log.ring.tail, records: 25 })
    disk.crash(random)
    expect(readAll(directory, { files: disk })).toMatchObject({ end: log.ring.tail })
    expect(readAll(directory, { files: disk }).records).toHaveLength(75)
    expect(salvage(disk, log)).toEqual({ end: log.ring.tail, records: 0 })
  })

  test('after a failed sync the files are written again', () => {
    const random = new SeededRandom(testSeed())
    const { disk, log } = left(random)
    log.ring.setPoison(POISON_SYNC_FAILED)
    const written: string[] = []
    disk.onOperation = (kind, name) => {
      if (kind === 'write') written.push(name)
    }
    const { ring } = log
    const rewritten = ring.segmentOf(ring.written - 1) - ring.segmentOf(ring.durable) + 1
    expect(salvage(disk, log)).toEqual({ end: ring.tail, records: 25 })
    // In the order of the log, from the durable position on, before anything new.
    expect(written.slice(0, rewritten)).toEqual(
      Array.from({ length: rewritten }, (_, i) => segmentName(ring.segmentOf(ring.durable) + i)),
    )
    expect(written.length).toBeGreaterThan(rewritten)
    disk.crash(random)
    expect(readAll(directory, { files: disk }).records).toHaveLength(75)
  })

  test('a ring that does not fit the log is left alone', () => {
    const random = new SeededRandom(testSeed())
    const { disk, log } = left(random)
    const { ring } = log
    // Bytes that differ where both have them: the log on disk ends beyond `written`.
    const written = ring.written
    const other = new SimulatedDisk()
    const foreign = new TestLog(directory, { files: other, segmentBytes: 8192 })
    foreign.put(random, 100)
    foreign.writer.write()
    expect(salvage(other, log).refused).toMatch(/another run|reaches back/)
    expect(salvage(disk, log, foreign.ring).refused).toMatch(/behind its tail|another run/)

    log.writer.write()
    const { end } = readAll(directory, { files: disk })
    const stale = Buffer.from(ring.memory.buffer)
    expect(ring.written).toBeGreaterThan(written)
    ring.memory.u8[ring.offsetOf(written + 30)]! ^= 1
    ring.memory.f64[(64 >>> 3) + 1] = written
    expect(salvageRing({ files: disk, directory, databaseId, ring, logEnd: end }).refused).toMatch(/differ/)
    stale.copy(ring.memory.buffer)
    ring.memory.f64[64 >>> 3] = Number.NaN
    expect(salvageRing({ files: disk, directory, databaseId, ring, logEnd: end }).refused).toMatch(/no positions/)
  })

  test('a ring that is broken in the middle gives what comes before', () => {
    const random = new SeededRandom(testSeed())
    const { disk, log } = left(random)
    const { ring } = log
    const bad = ring.written + 2000
    ring.memory.u8[ring.offsetOf(bad)]! ^= 0x10
    const result = salvage(disk, log)
    expect(result.refused).toMatch(/not sound/)
    expect(result.end).toBeLessThanOrEqual(bad)
    expect(readAll(directory, { files: disk }).records).toHaveLength(50 + result.records)
  })
})
