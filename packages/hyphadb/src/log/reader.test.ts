import { copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { HyphaError } from '../base/errors.js'
import { SeededRandom, testSeed } from '../base/random.js'
import { realFileSystem } from '../os/real-file-system.js'
import {
  databaseId,
  type ReadRecord,
  readAll,
  removeTemporaryDirectories,
  TestLog,
  temporaryDirectory,
} from './log-fixture.test.helper.js'
import { LogReader } from './reader.js'
import { listSegments, SEGMENT_HEADER_BYTES, segmentName } from './segments.js'
import { SimulatedDisk } from './simulated-disk.test.helper.js'
import { verifyLog } from './verify.js'

afterEach(removeTemporaryDirectories)

const SEGMENT_BYTES = 8192
const PAYLOAD = SEGMENT_BYTES - SEGMENT_HEADER_BYTES

/** A directory with a log of `commits` records; `syncEvery` of them between syncs. */
async function makeLog(seed: number, commits: number, syncEvery: number, valueBytes = 200): Promise<string> {
  const directory = temporaryDirectory()
  await extend(directory, seed, commits, syncEvery, valueBytes)
  return directory
}

async function extend(
  directory: string,
  seed: number,
  commits: number,
  syncEvery: number,
  valueBytes = 200,
): Promise<void> {
  const random = new SeededRandom(seed)
  const log = new TestLog(directory, { segmentBytes: SEGMENT_BYTES })
  for (let i = 1; i <= commits; i++) {
    log.put(random, random.below(valueBytes))
    if (i % syncEvery === 0) log.writer.syncSync()
  }
  log.writer.write()
  await log.close()
}

function copyOf(directory: string): string {
  const copy = join(temporaryDirectory(), 'log')
  mkdirSync(copy)
  for (const name of readdirSync(directory)) copyFileSync(join(directory, name), join(copy, name))
  return copy
}

/** The file and offset of a position in a log of one run that begins at 0. */
function placeOf(directory: string, position: number): { path: string; offset: number } {
  const number = Math.floor(position / PAYLOAD) + 1
  return { path: join(directory, segmentName(number)), offset: SEGMENT_HEADER_BYTES + (position % PAYLOAD) }
}

/** Overwrites the log from `position` on. */
function overwrite(directory: string, position: number, bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) {
    const { path, offset } = placeOf(directory, position + i)
    const content = readFileSync(path)
    content[offset] = bytes[i]!
    writeFileSync(path, content)
  }
}

function verify(directory: string, from = 0): ReturnType<typeof verifyLog> {
  return verifyLog({ files: realFileSystem, directory, databaseId, from })
}

function errorOf(work: () => unknown): HyphaError {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(HyphaError)
    return error as HyphaError
  }
  throw new Error('nothing was thrown')
}

describe('log reader', () => {
  test('records come back in order, across segments and runs, whatever the chunk', async () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const directory = temporaryDirectory()
    for (let run = 0; run < 4; run++) await extend(directory, random.uint32(), 40, 7, random.pick([30, 300, 6000]))
    const all = readAll(directory)
    expect(all.records.map(record => record.sequence)).toEqual(Array.from({ length: 160 }, (_, i) => i + 1))
    expect(all.reason).toBe('clean')
    expect(listSegments(realFileSystem, directory, databaseId).runs.length, `seed ${seed}`).toBe(4)
    for (const chunkBytes of [4096, 5000, 100_000]) expect(readAll(directory, { chunkBytes })).toEqual(all)
    const middle = all.records[77]!
    expect(readAll(directory, { from: middle.position }).records).toEqual(all.records.slice(77))
    expect(verify(directory)).toMatchObject({ faults: [], records: 160, bytes: all.end })
  })

  test('an end torn at any byte is an end, and nothing torn is accepted', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const disk = new SimulatedDisk()
    const directory = '/log'
    const log = new TestLog(directory, { segmentBytes: SEGMENT_BYTES, files: disk })
    // So that the last records lie across two segments.
    while (log.ring.tail < PAYLOAD - 400) log.put(random, 20 + random.below(100))
    log.writer.syncSync()
    const synced = log.ring.durable
    // Nothing of the last records is synced: any of their bytes may be missing or wrong.
    while (log.ring.tail < PAYLOAD + 200) log.put(random, random.below(150))
    log.writer.write()
    const { records, end } = readAll(directory, { files: disk })
    const contents = [1, 2].map(number => disk.contentOf(segmentName(number)))
    const sound = contents.map(content => Buffer.from(content))
    const write = (position: number, bytes: Uint8Array): void => {
      for (let i = 0; i < bytes.length; i++) {
        const at = position + i
        contents[Math.floor(at / PAYLOAD)]![SEGMENT_HEADER_BYTES + (at % PAYLOAD)] = bytes[i]!
      }
    }
    const original = Buffer.alloc(end - synced)
    for (let i = 0; i < original.length; i++) {
      original[i] = contents[Math.floor((synced + i) / PAYLOAD)]![SEGMENT_HEADER_BYTES + ((synced + i) % PAYLOAD)]!
    }
    for (let position = synced; position < end; position++) {
      const rest = end - position
      const torn = [Buffer.alloc(rest), random.bytes(rest), Buffer.from(original.subarray(position - synced))]
      torn[2]![random.below(Math.min(rest, 4))]! ^= 1 << random.below(8)
      for (const bytes of torn) {
        write(position, bytes)
        let differs = position
        while (differs < end && bytes[differs - position] === original[differs - synced]) differs++
        const expected = records.filter(record => record.position + record.total <= differs)
        const after = readAll(directory, { files: disk, chunkBytes: 4096 })
        expect(after.end, `at ${position}, seed ${seed}`).toBe(expected.at(-1)!.position + expected.at(-1)!.total)
        expect(after.records.length).toBe(expected.length)
        expect(verifyLog({ files: disk, directory }).faults).toEqual([])
        for (const [i, content] of contents.entries()) sound[i]!.copy(content)
      }
    }
    expect(readAll(directory, { files: disk }).records).toEqual(records)
  }, 30_000)

  test('a log file cut off anywhere is damage, and named: a segment has its whole size before its name', async () => {
    const directory = await makeLog(12, 10, 1000, 60)
    const { end } = readAll(directory)
    const path = join(directory, segmentName(1))
    for (let position = end - 1; position >= 0; position -= 3) {
      truncateSync(path, SEGMENT_HEADER_BYTES + position)
      const error = errorOf(() => readAll(directory))
      expect(error.code).toBe('HYPHA_CORRUPT')
      expect(error.message).toContain(path)
      expect(verify(directory).faults).toContainEqual(expect.objectContaining({ file: path }))
    }
  })

  test('a flipped bit in what a later record knows to be durable is damage, and named', async () => {
    const directory = await makeLog(13, 40, 5, 150)
    const { records } = readAll(directory)
    const random = new SeededRandom(14)
    for (const record of records.slice(0, 30)) {
      const at = record.position + random.below(record.total)
      const copy = copyOf(directory)
      flip(copy, at, random.below(8))
      const error = errorOf(() => readAll(copy))
      expect(error.code).toBe('HYPHA_CORRUPT')
      const { path, offset } = placeOf(copy, record.position)
      expect(error.message).toContain(path)
      expect(error.message).toContain(`offset ${offset} `)
      const { faults, records: sound } = verify(copy)
      expect(faults).toHaveLength(1)
      expect(faults[0]).toMatchObject({ file: path, offset, position: record.position })
      expect(sound).toBe(records.length - 1)
    }
  })

  test('verify lists every fault, not only the first', async () => {
    const directory = await makeLog(15, 60, 5, 150)
    const { records } = readAll(directory)
    const broken = [3, 4, 17, 30, 41].map(i => records[i]!)
    for (const record of broken) flip(directory, record.position + 7, 3)
    expect(verify(directory).faults.map(fault => fault.position)).toEqual(
      [3, 17, 30, 41].map(i => records[i]!.position),
    )
  })

  test('damage in the last records is known from the durable position that the caller has', async () => {
    const directory = await makeLog(16, 10, 10)
    const { records, end } = readAll(directory)
    flip(directory, records[9]!.position + 20, 1)
    expect(readAll(directory).reason).toBe('torn')
    expect(errorOf(() => readAll(directory, { durableThrough: end })).code).toBe('HYPHA_CORRUPT')
    expect(verifyLog({ files: realFileSystem, directory, databaseId, durableThrough: end }).faults).toHaveLength(1)
    expect(errorOf(() => readAll(directory, { durableThrough: end + PAYLOAD * 9 })).code).toBe('HYPHA_CORRUPT')
  })

  test('a sound record behind a torn one does not come back at the second power loss', async () => {
    const directory = await makeLog(17, 20, 20)
    const before = readAll(directory)
    // Three more, none synced; the first of them is lost, the others reached the disk.
    const log = new TestLog(directory, { segmentBytes: SEGMENT_BYTES })
    const random = new SeededRandom(18)
    const start = log.ring.tail
    log.put(random, 100)
    log.put(random, 100)
    log.put(random, 100)
    log.writer.write()
    await log.close()
    const segment = join(directory, segmentName(listSegments(realFileSystem, directory).largestNumber))
    const content = readFileSync(segment)
    content.fill(0xee, SEGMENT_HEADER_BYTES + 10, SEGMENT_HEADER_BYTES + 60)
    writeFileSync(segment, content)
    const torn = readAll(directory)
    expect(torn).toMatchObject({ end: start, reason: 'torn' })
    expect(torn.records).toEqual(before.records)

    // The next run logs a record of the same length, which is torn in its turn: the old ones are void all the same.
    const again = new TestLog(directory, { segmentBytes: SEGMENT_BYTES })
    again.put(random, 100)
    again.writer.write()
    await again.close()
    const second = readAll(directory)
    expect(second.records.slice(0, 20)).toEqual(before.records)
    expect(second.records).toHaveLength(21)
    const last = join(directory, segmentName(listSegments(realFileSystem, directory).largestNumber))
    const lastContent = readFileSync(last)
    lastContent[SEGMENT_HEADER_BYTES + 50]! ^= 1
    writeFileSync(last, lastContent)
    const third = new TestLog(directory, { segmentBytes: SEGMENT_BYTES })
    expect(third.ring.base).toBe(start)
    await third.close()
    expect(readAll(directory)).toMatchObject({ end: start, reason: 'clean', records: before.records })
    expect(verify(directory).faults).toEqual([])
  })

  test('a bad record before the end that the next run declares is damage, synced or not', async () => {
    const directory = await makeLog(19, 20, 1000)
    const { records } = readAll(directory)
    await extend(directory, 20, 3, 1000)
    flip(directory, records[19]!.position + 30, 0)
    expect(errorOf(() => readAll(directory)).message).toContain('when a later run began')
    expect(verify(directory).faults).toHaveLength(1)
    expect(verify(directory).records).toBe(22)
  })

  test('every byte of a segment header is guarded', async () => {
    const directory = await makeLog(21, 40, 5)
    const first = join(directory, segmentName(1))
    const second = join(directory, segmentName(2))
    for (const path of [first, second]) {
      const sound = readFileSync(path)
      for (let offset = 0; offset < SEGMENT_HEADER_BYTES; offset += offset < 96 ? 1 : 61) {
        const content = Buffer.from(sound)
        content[offset]! ^= 1 << (offset & 7)
        writeFileSync(path, content)
        const error = errorOf(() => readAll(directory))
        expect(error.code, `offset ${offset}`).toBe('HYPHA_CORRUPT')
        expect(error.message).toContain(path)
        expect(verify(directory).faults.some(fault => fault.file === path)).toBe(true)
      }
      writeFileSync(path, sound)
    }
    const position = readAll(directory).records.find(record => record.position > PAYLOAD)!.position
    const content = readFileSync(first)
    content[40]! ^= 1
    writeFileSync(first, content)
    // A header that lies before what is asked for is nobody's concern.
    expect(readAll(directory, { from: position }).reason).toBe('clean')
  })

  test('a missing, foreign, renamed or newer segment is an error that names it', async () => {
    const directory = await makeLog(22, 100, 5)
    const count = listSegments(realFileSystem, directory).segments.length
    expect(count).toBeGreaterThan(3)
    let copy = copyOf(directory)
    unlinkSync(join(copy, segmentName(2)))
    expect(errorOf(() => readAll(copy)).message).toContain('does not hold position')
    expect(verify(copy).faults.some(fault => fault.message.includes('missing'))).toBe(true)
    expect(verify(copy).records).toBeGreaterThan(20)

    copy = copyOf(directory)
    unlinkSync(join(copy, segmentName(1)))
    expect(errorOf(() => readAll(copy)).code).toBe('HYPHA_CORRUPT')
    expect(errorOf(() => readAll(copy, { missing: 'HYPHA_SNAPSHOT_TOO_OLD' })).code).toBe('HYPHA_SNAPSHOT_TOO_OLD')

    copy = copyOf(directory)
    copyFileSync(join(copy, segmentName(1)), join(copy, segmentName(2)))
    expect(errorOf(() => readAll(copy)).message).toContain('says that it is segment 1')

    expect(errorOf(() => readAll(directory, { databaseId: new Uint8Array(16) })).message).toContain('another database')

    copy = copyOf(directory)
    truncateSync(join(copy, segmentName(1)), 100)
    expect(errorOf(() => readAll(copy)).message).toContain('cut off')
    expect(readAll(join(temporaryDirectory())).end).toBe(0)
    expect(errorOf(() => readAll(temporaryDirectory(), { from: 10 })).code).toBe('HYPHA_CORRUPT')
  })

  test('a consumer that tails reads up to the durable position and goes on when it rises', async () => {
    const directory = temporaryDirectory()
    const log = new TestLog(directory, { segmentBytes: SEGMENT_BYTES })
    const random = new SeededRandom(23)
    log.put(random, 100)
    log.writer.syncSync()
    const reader = new LogReader({ files: realFileSystem, directory, databaseId, from: 0, limit: log.ring.durable })
    const seen: number[] = []
    for (let i = 0; i < 200; i++) {
      while (reader.next()) seen.push(reader.record.sequence)
      expect(reader.end?.reason).toBe('limit')
      expect(seen.at(-1)).toBe(log.sequence)
      for (let k = random.below(5); k >= 0; k--) log.put(random, random.below(400))
      log.writer.write()
      expect(reader.next()).toBe(false)
      log.writer.syncSync()
      reader.raiseLimit(log.ring.durable)
    }
    expect(seen).toEqual(seen.map((_, i) => i + 1))
    reader.close()
    await log.close()
  })

  test('a clean end that was promised is not searched behind, and is not believed elsewhere', async () => {
    const directory = await makeLog(24, 20, 5)
    const { records, end } = readAll(directory)
    expect(readAll(directory, { cleanEnd: end })).toMatchObject({ end, reason: 'clean' })
    flip(directory, records[3]!.position + 9, 1)
    expect(errorOf(() => readAll(directory, { cleanEnd: end })).code).toBe('HYPHA_CORRUPT')
  })

  test('a damaged stretch is told from a torn end when zeros replaced it', async () => {
    const directory = await makeLog(25, 40, 4, 100)
    const { records } = readAll(directory)
    const from = records[10]!
    overwrite(directory, from.position, Buffer.alloc(records[14]!.position - from.position))
    expect(errorOf(() => readAll(directory)).message).toContain('was durable')
  })

  test('a record longer than the chunk, and one longer than a segment, are read whole', async () => {
    const directory = temporaryDirectory()
    const log = new TestLog(directory, { segmentBytes: SEGMENT_BYTES })
    const random = new SeededRandom(26)
    const lengths = [10, 5000, 50_000, 30, 40_000, 0]
    for (const length of lengths) log.put(random, length)
    log.writer.syncSync()
    await log.close()
    const { records } = readAll(directory, { chunkBytes: 4096 })
    expect(records.map((record: ReadRecord) => record.operations[0]!.value.length)).toEqual(lengths)
  })
})

function flip(directory: string, position: number, bit: number): void {
  const { path, offset } = placeOf(directory, position)
  const content = readFileSync(path)
  content[offset]! ^= 1 << bit
  writeFileSync(path, content)
}
