/**
 * The log on a disk that loses, tears and reorders what was not synced, cut off at any operation, recovery included: what
 * comes back is a prefix of what was committed, and holds everything that was called durable.
 */
import { describe, expect, test } from 'vitest'
import { isHyphaError } from '../base/errors.js'
import { SeededRandom, testSeed } from '../base/random.js'
import { databaseId, noLatch, readAll, TestLog } from './log-fixture.test.helper.js'
import { PowerLoss, SimulatedDisk } from './simulated-disk.test.helper.js'
import { verifyLog } from './verify.js'
import { LogWriter } from './writer.js'

interface Commit {
  readonly end: number
  readonly value: Buffer
}

const directory = '/log'
/** More for a long search: some 150 a second. */
const HISTORIES = Number(process.env['HYPHA_HISTORIES'] ?? 80)

function isPowerLoss(error: unknown): boolean {
  if (error instanceof PowerLoss) return true
  return error instanceof Error && error.cause !== undefined && isPowerLoss(error.cause)
}

class History {
  readonly random: SeededRandom
  readonly disk = new SimulatedDisk()
  /** What was committed and not lost, oldest first, from `firstSequence` on. */
  commits: Commit[] = []
  /** Sequence of commits[0]. */
  firstSequence = 1
  /** Where reading begins: what a checkpoint would have said. */
  from = 0
  /** Everything before was called durable. */
  acknowledged = 0
  recycled = 0

  constructor(readonly seed: number) {
    this.random = new SeededRandom(seed)
  }

  /** One life: recovery, work, power loss. */
  async live(): Promise<void> {
    const { disk, random } = this
    if (random.chance(0.3)) disk.operationsLeft = random.below(12)
    let log: TestLog | undefined
    try {
      log = new TestLog(directory, {
        files: disk,
        segmentBytes: random.pick([8192, 12_288]),
        ringBytes: 16_384,
        from: this.from,
        durableThrough: this.acknowledged,
        sparesMax: 2,
      })
      this.afterRecovery(log)
      disk.operationsLeft = random.chance(0.8) ? random.below(60) : Infinity
      this.work(log)
    } catch (error) {
      if (!isPowerLoss(error)) throw error
    }
    if (log !== undefined) this.acknowledged = Math.max(this.acknowledged, log.ring.durable)
    // Either everything goes, or only the processes do and the page cache stays.
    if (random.chance(0.6)) disk.crash(random)
    else disk.killProcesses()
  }

  /** The log now must be a prefix of what was committed, and reach what was acknowledged. */
  check(): void {
    const read = readAll(directory, { files: this.disk, from: this.from, durableThrough: this.acknowledged })
    expect(read.end, `seed ${this.seed}`).toBeGreaterThanOrEqual(this.acknowledged)
    for (const record of read.records) {
      const commit = this.commits[record.sequence - this.firstSequence]
      expect(commit?.end, `seed ${this.seed}`).toBe(record.position + record.total)
      expect(record.operations[0]!.value.equals(commit!.value)).toBe(true)
    }
    const verified = verifyLog({
      files: this.disk,
      directory,
      databaseId,
      from: this.from,
      durableThrough: this.acknowledged,
    })
    expect(verified.faults, `seed ${this.seed}`).toEqual([])
    // What is lost is lost: the next run logs something else there.
    this.commits = this.commits.filter(commit => commit.end <= read.end)
  }

  afterRecovery(log: TestLog): void {
    this.commits = this.commits.filter(commit => commit.end <= log.ring.base)
    const last = this.commits.length - 1 + this.firstSequence
    expect(log.sequence === 0 || log.sequence === last, `seed ${this.seed}`).toBe(true)
    log.sequence = last
    expect(log.ring.base).toBeGreaterThanOrEqual(this.acknowledged)
    this.acknowledged = log.ring.base
  }

  work(log: TestLog): void {
    const { random } = this
    const second = new LogWriter({
      files: this.disk,
      directory,
      databaseId,
      ring: log.ring,
      writeLatch: noLatch,
      allocationLatch: noLatch,
      sparesMax: 2,
    })
    const writers = [log.writer, second]
    for (let step = random.below(120); step > 0; step--) {
      const choice = random.float()
      if (choice < 0.6) this.commit(log)
      else if (choice < 0.8) random.pick(writers).write()
      else if (choice < 0.95) random.pick(writers).syncSync()
      else this.recycle(log, random.pick(writers))
    }
  }

  commit(log: TestLog): void {
    const { random } = this
    const value = random.bytes(random.below(random.chance(0.1) ? 9000 : 400))
    const end = log.commit(encoder => encoder.put(1, Buffer.from('key'), value))
    this.commits.push({ end, value })
  }

  /** As after a checkpoint at some durable commit. */
  recycle(log: TestLog, writer: LogWriter): void {
    const durable = this.commits.findLastIndex(commit => commit.end <= log.ring.durable)
    if (durable < 0) return
    const all = this.random.chance(0.3)
    const at = all ? durable : this.random.below(durable + 1)
    this.from = this.commits[at]!.end
    this.commits = this.commits.slice(at + 1)
    this.firstSequence += at + 1
    const { spared, deleted } = writer.recycle(all ? Infinity : this.from)
    this.recycled += spared + deleted
  }
}

describe('log and power loss', () => {
  test('recovery yields a prefix of the commits with everything that was durable', async () => {
    const first = testSeed()
    let recycled = 0
    for (let seed = first; seed < first + HISTORIES; seed++) {
      const history = new History(seed)
      for (let life = 0; life < 6; life++) {
        await history.live()
        history.check()
      }
      recycled += history.recycled
    }
    expect(recycled).toBeGreaterThan(HISTORIES / 3)
  }, 60_000)

  test('a file that is recycled ahead of the last checkpoint is never seen under its old name with a new header', () => {
    for (let cut = 0; cut < 8; cut++) {
      const disk = new SimulatedDisk()
      const random = new SeededRandom(cut)
      const log = new TestLog(directory, { files: disk, segmentBytes: 8192 })
      log.put(random, 100)
      // Segments ahead, which the next run makes void, and the one after recycles.
      log.writer.reserve(20_000)
      log.writer.syncSync()
      disk.killProcesses()
      const next = new TestLog(directory, { files: disk, segmentBytes: 8192 })
      disk.onOperation = kind => {
        if (kind === 'syncDirectory') throw new PowerLoss('killed before the directory is synced')
      }
      expect(() => next.writer.recycle(0)).toThrow(PowerLoss)
      disk.onOperation = undefined
      disk.killProcesses()
      disk.operationsLeft = cut
      try {
        new TestLog(directory, { files: disk, segmentBytes: 8192 })
      } catch (error) {
        expect(isPowerLoss(error)).toBe(true)
      }
      disk.crash(random)
      expect(readAll(directory, { files: disk }).records).toHaveLength(1)
    }
  })

  test('a full disk stops nothing but the commit that needs more room', () => {
    const disk = new SimulatedDisk()
    const random = new SeededRandom(1)
    disk.freeSpace = 50_000
    const log = new TestLog(directory, { files: disk, segmentBytes: 8192 })
    let failure: unknown
    try {
      for (;;) log.put(random, 300)
    } catch (error) {
      failure = error
    }
    expect(isHyphaError(failure, 'HYPHA_DISK_FULL')).toBe(true)
    expect(log.ring.poison).toBe(0)
    // All that was committed has its room.
    log.writer.syncSync()
    expect(log.ring.durable).toBe(log.ring.tail)
    log.sequence = readAll(directory, { files: disk }).records.length
    expect(() => log.put(random, 8000)).toThrow(/full/)
    log.sequence--
    // A checkpoint later there is room again, of the recycled files alone.
    expect(log.writer.recycle(log.ring.durable).spared).toBeGreaterThan(1)
    for (let i = 0; i < 20; i++) log.put(random, 300)
    log.writer.syncSync()
    expect(disk.freeSpace).toBeLessThan(8192)
  })
})
