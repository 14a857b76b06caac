/** Bad bytes are found, not believed; and what is not damaged goes on being served. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32Range } from 'hyphadb/internal/base/checksum.js'
import { HyphaError } from 'hyphadb/internal/base/errors.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { decodeSegmentHeader, listSegments, SEGMENT_HEADER_BYTES } from 'hyphadb/internal/log/segments.js'
import { realFileSystem } from 'hyphadb/internal/os/real-file-system.js'
import { readSuperblocks } from 'hyphadb/internal/pages/superblock.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  addToLog,
  blocksOf,
  fill,
  flip,
  keyOf,
  LARGE_ROWS,
  openingError,
  openSmall,
  PAGE_BYTES,
  Places,
  ROWS,
  readRows,
  valueOf,
} from './fixture.js'

const LOGGED = 40
const places = new Places()
let engine: HyphaEngine
/** As found after a death: a checkpoint, and commits in the log behind it. */
let original: string
/** Closed in good order. */
let closed: string

beforeAll(async () => {
  const live = places.fresh()
  engine = await openSmall(live)
  await fill(engine)
  await engine.checkpoint()
  await addToLog(engine, LOGGED)
  original = places.copyOf(live)
  await engine.close()
  closed = live
})

afterAll(() => places.remove())

async function readsEverything(opened: HyphaEngine): Promise<void> {
  expect(readRows(opened, 'first', ROWS)).toEqual({ right: ROWS, wrong: [], errors: [] })
  expect(readRows(opened, 'second', ROWS)).toEqual({ right: ROWS, wrong: [], errors: [] })
  expect(readRows(opened, 'large', LARGE_ROWS, 20_000)).toEqual({ right: LARGE_ROWS, wrong: [], errors: [] })
  expect(readRows(opened, 'logged', LOGGED)).toEqual({ right: LOGGED, wrong: [], errors: [] })
}

describe('undamaged', () => {
  test('the copy of a live directory opens with everything, and verify finds nothing', async () => {
    const opened = await openSmall(places.copyOf(original))
    await readsEverything(opened)
    expect((await opened.verify()).faults).toEqual([])
    await opened.close()
  })
})

describe('superblocks', () => {
  const newestSlot = (directory: string): number => {
    const file = realFileSystem.open(join(directory, 'data'), { readOnly: true })
    try {
      return (readSuperblocks(file).valid[0]?.epoch as number) & 1
    } finally {
      file.close()
    }
  }

  test('any byte of any copy may be flipped: the same superblocks are read, and the copy is told', () => {
    const directory = places.copyOf(original)
    const path = join(directory, 'data')
    const file = realFileSystem.open(path)
    const before = readSuperblocks(file)
    const byte = Buffer.alloc(1)
    for (let offset = 0; offset < 4 * 4096; offset++) {
      file.read(byte, 0, 1, offset)
      byte[0] = (byte[0] as number) ^ 0x04
      file.write(byte, 0, 1, offset)
      const { valid, faults } = readSuperblocks(file)
      expect(valid).toEqual(before.valid)
      expect(faults).toEqual([{ offset: offset - (offset % 4096), what: expect.any(String) }])
      byte[0] = (byte[0] as number) ^ 0x04
      file.write(byte, 0, 1, offset)
    }
    file.close()
  }, 60_000)

  test('one copy of the newest damaged: nothing is lost, and verify names its place', async () => {
    for (const [copy, field] of [
      [0, 0],
      [0, 9],
      [1, 13],
      [0, 37],
      [1, 42],
      [0, 52],
      [1, 2050],
    ] as const) {
      const directory = places.copyOf(original)
      const offset = newestSlot(directory) * 8192 + copy * 4096
      flip(join(directory, 'data'), offset + field)
      const opened = await openSmall(directory)
      await readsEverything(opened)
      expect((await opened.verify()).faults).toContainEqual(
        expect.objectContaining({ file: join(directory, 'data'), offset }),
      )
      await opened.close()
    }
  })

  test.each([
    ['flipped', 0x01],
    ['zeroed', 0],
  ])('both copies of the newest %s: refused, never replaced by older data', async (how, mask) => {
    for (const source of [original, closed]) {
      const directory = places.copyOf(source)
      const path = join(directory, 'data')
      const at = newestSlot(directory) * 8192
      const bytes = readFileSync(path)
      if (how === 'zeroed') bytes.fill(0, at, at + 8192)
      else for (const copy of [0, 1]) bytes[at + copy * 4096 + 40] = (bytes[at + copy * 4096 + 40] as number) ^ mask
      writeFileSync(path, bytes)
      const error = await openingError(directory)
      expect(error.code).toBe('HYPHA_CORRUPT')
      expect(error.message).toContain(path)
      expect(error.message).toContain(`offset ${at}`)
    }
  })

  test('another format version is refused as such', async () => {
    const directory = places.copyOf(original)
    const path = join(directory, 'data')
    const bytes = readFileSync(path)
    for (let at = 0; at < 4 * 4096; at += 4096) {
      const copy = bytes.subarray(at, at + 4096)
      copy.writeUInt32LE(2, 8)
      copy.writeUInt32LE(crc32Range(copy, 16, 4096, crc32Range(copy, 0, 12)) >>> 0, 12)
    }
    writeFileSync(path, bytes)
    const error = await openingError(directory)
    expect(error.code).toBe('HYPHA_VERSION')
    expect(error.message).toContain(path)
  })
})

describe('the log', () => {
  const segmentsOf = (directory: string): { path: string; start: number; number: number }[] =>
    listSegments(realFileSystem, join(directory, 'log')).segments.map(({ path, header }) => ({
      path,
      start: header.start,
      number: header.number,
    }))

  /** Where the commits behind the checkpoint stand: file, first offset, and the offset behind them. */
  const loggedExtent = (directory: string): { path: string; from: number; to: number } => {
    const path = segmentsOf(directory).at(-1)?.path as string
    const bytes = readFileSync(path)
    const from = bytes.indexOf(keyOf(0), SEGMENT_HEADER_BYTES)
    return { path, from, to: bytes.lastIndexOf(valueOf(LOGGED - 1)) }
  }

  test('a bit flipped anywhere between durable commits is damage with a place, never the end', async () => {
    const { path, from, to } = loggedExtent(original)
    expect(to).toBeGreaterThan(from + 2000)
    const last = readFileSync(path).lastIndexOf(valueOf(LOGGED - 3))
    const step = Math.floor((last - from) / 24)
    for (let offset = from; offset < last; offset += step) {
      const directory = places.copyOf(original)
      const damaged = path.replace(original, directory)
      flip(damaged, offset, 1 << (offset % 8))
      const error = await openingError(directory)
      expect(error.code).toBe('HYPHA_CORRUPT')
      expect(error.message).toContain(damaged)
      const named = Number(/offset (\d+)/.exec(error.message)?.[1])
      expect(named).toBeLessThanOrEqual(offset)
      expect(named).toBeGreaterThan(offset - 200)
      rmSync(directory, { recursive: true })
    }
  }, 60_000)

  test('a stretch of zeros between durable commits is damage too', async () => {
    const { path, from } = loggedExtent(original)
    const directory = places.copyOf(original)
    const bytes = readFileSync(path)
    bytes.fill(0, from + 300, from + 900)
    writeFileSync(path.replace(original, directory), bytes)
    expect((await openingError(directory)).code).toBe('HYPHA_CORRUPT')
  })

  test('a damaged log of an open database is listed by verify, and reading and writing go on', async () => {
    const directory = places.copyOf(original)
    const opened = await openSmall(directory)
    await addToLog(opened, 30)
    const path = segmentsOf(directory).at(-1)?.path as string
    const offset = readFileSync(path).indexOf(valueOf(7), SEGMENT_HEADER_BYTES)
    expect(offset).toBeGreaterThan(0)
    flip(path, offset)
    const { faults } = await opened.verify()
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatchObject({ file: path })
    expect(faults[0]?.offset).toBeLessThanOrEqual(offset)
    await readsEverything(opened)
    await opened.put(opened.openTable('first'), Buffer.from('more'), Buffer.from('still'))
    await opened.close()
  })

  test('any byte of a segment header flipped is noticed', () => {
    const { path } = segmentsOf(original).at(-1) as { path: string }
    const bytes = readFileSync(path).subarray(0, SEGMENT_HEADER_BYTES)
    for (let offset = 0; offset < SEGMENT_HEADER_BYTES; offset++) {
      const header = Buffer.from(bytes)
      header[offset] = (header[offset] as number) ^ 0x20
      expect(() => decodeSegmentHeader(header, path)).toThrow(HyphaError)
    }
  })

  test('a needed segment with a bad header is refused with its name; a missing one too', async () => {
    const { path } = loggedExtent(original)
    for (const offset of [0, 3, 8, 12, 16, 31, 32, 39, 40, 48, 56, 64, 72, 79, 80, 4095]) {
      const directory = places.copyOf(original)
      flip(path.replace(original, directory), offset)
      const error = await openingError(directory)
      expect(error.code).toBe('HYPHA_CORRUPT')
      expect(error.message).toContain(path.replace(original, directory))
    }
    const directory = places.copyOf(original)
    rmSync(path.replace(original, directory))
    const error = await openingError(directory)
    expect(error.code).toBe('HYPHA_CORRUPT')
    expect(error.message).toContain(join(directory, 'log'))
  })

  test('a segment that is cut short is damage', async () => {
    const { path, from } = loggedExtent(original)
    const directory = places.copyOf(original)
    truncateSync(path.replace(original, directory), from + 500)
    const error = await openingError(directory)
    expect(error.code).toBe('HYPHA_CORRUPT')
  })
})

describe('the data file', () => {
  test('foreign, empty, cut off and missing files are refused, and nothing is overwritten', async () => {
    const make: [string, (path: string) => void, string][] = [
      ['foreign', path => writeFileSync(path, Buffer.alloc(200_000, 'not a database ')), 'HYPHA_CORRUPT'],
      ['empty', path => truncateSync(path, 0), 'HYPHA_CORRUPT'],
      ['cut off in the superblocks', path => truncateSync(path, 100), 'HYPHA_CORRUPT'],
      ['missing', path => rmSync(path), 'HYPHA_CORRUPT'],
    ]
    for (const [what, change, code] of make) {
      const directory = places.copyOf(original)
      const path = join(directory, 'data')
      change(path)
      const before = existsSync(path) ? readFileSync(path) : undefined
      const log = readdirSync(join(directory, 'log'))
      const error = await openingError(directory)
      expect(error.code, what).toBe(code)
      expect(error.message, what).toContain(path)
      expect(existsSync(path) ? readFileSync(path) : undefined, what).toEqual(before)
      expect(readdirSync(join(directory, 'log')), what).toEqual(log)
    }
  })

  test('cut off among the pages: an error that names the place, for what is gone alone', async () => {
    const blocks = blocksOf(closed).filter(({ table }) => table >= 16)
    const cut = Math.max(...blocks.map(({ offset }) => offset)) - 3 * PAGE_BYTES
    const directory = places.copyOf(closed)
    truncateSync(join(directory, 'data'), cut)
    let opened: HyphaEngine
    try {
      opened = await openSmall(directory)
    } catch (error) {
      // The map itself may have stood behind the cut.
      expect(error).toMatchObject({ code: 'HYPHA_CORRUPT' })
      return
    }
    const { faults } = await opened.verify()
    expect(faults.length).toBeGreaterThan(0)
    for (const name of ['first', 'second']) {
      const { wrong, errors } = readRows(opened, name, ROWS)
      expect(wrong).toEqual([])
      for (const error of errors) expect(error.code).toBe('HYPHA_CORRUPT')
    }
    await opened.close()
  })

  test('data of another database beside this log is refused', async () => {
    const other = places.fresh()
    const stranger = await openSmall(other)
    await fill(stranger)
    await stranger.close()
    const directory = places.copyOf(original)
    renameSync(join(other, 'data'), join(directory, 'data'))
    expect((await openingError(directory)).code).toBe('HYPHA_CORRUPT')
  })
})

describe('pages', () => {
  /** Newest images only: of each page, the block that the map names is the one that verify of an intact copy reads. */
  async function currentBlocks(): Promise<ReturnType<typeof blocksOf>> {
    const opened = await openSmall(places.copyOf(closed))
    const { blockOf } = opened.core.region
    const blocks = blocksOf(closed).filter(
      ({ kind, page, offset }) => kind > 3 || blockOf[page] === offset / PAGE_BYTES,
    )
    await opened.close()
    return blocks
  }

  test('a damaged page of any kind: verify lists it, reads of it fail with its place, the rest is served', async () => {
    const blocks = await currentBlocks()
    const kinds = new Set(blocks.map(({ kind, table }) => (table >= 16 ? kind : 0)))
    expect([...kinds].sort()).toEqual([0, 1, 2, 3])
    const chosen = blocks.filter(
      ({ kind, table }, n) =>
        kind > 1 ||
        table < 16 ||
        blocks.findIndex(block => block.table === table && block.kind === kind) === n ||
        n % 9 === 0,
    )
    for (const { offset, kind, page, table } of chosen) {
      const directory = places.copyOf(closed)
      const path = join(directory, 'data')
      flip(path, offset + 200)
      const what = `kind ${kind} page ${page} table ${table} offset ${offset}`
      if (kind > 3) {
        // A map page, or an old image of one.
        try {
          await (await openSmall(directory)).close()
        } catch (error) {
          expect(error, what).toMatchObject({ code: 'HYPHA_CORRUPT' })
          expect((error as Error).message, what).toContain(`${path} at offset ${offset}`)
        }
        continue
      }
      await expectDamagedPage(directory, offset, page, table, what)
      rmSync(directory, { recursive: true })
    }
  }, 60_000)

  async function expectDamagedPage(
    directory: string,
    offset: number,
    page: number,
    table: number,
    what: string,
  ): Promise<void> {
    const path = join(directory, 'data')
    let opened: HyphaEngine
    try {
      opened = await openSmall(directory)
    } catch (error) {
      // Without its own tables the engine cannot open.
      expect(table, what).toBeLessThan(16)
      expect(error, what).toMatchObject({ code: 'HYPHA_CORRUPT' })
      expect((error as Error).message, what).toContain(path)
      return
    }
    const errors: HyphaError[] = []
    let right = 0
    for (const [name, rows, length] of [
      ['first', ROWS, 60],
      ['second', ROWS, 60],
      ['large', LARGE_ROWS, 20_000],
      ['logged', LOGGED, 60],
    ] as const) {
      try {
        const reading = readRows(opened, name, rows, length)
        expect(reading.wrong, what).toEqual([])
        errors.push(...reading.errors)
        right += reading.right
      } catch (error) {
        expect(table, what).toBeLessThan(16)
        expect(error, what).toMatchObject({ code: 'HYPHA_CORRUPT' })
        errors.push(error as HyphaError)
      }
    }
    expect(errors.length, what).toBeGreaterThan(0)
    if (table >= 16) expect(right, what).toBeGreaterThan(ROWS)
    for (const error of errors) {
      expect(error.code, what).toBe('HYPHA_CORRUPT')
      expect(error.message, what).toContain(`${path} at offset ${offset}`)
      expect(error.message, what).toContain(`table ${table}`)
    }
    const { faults } = await opened.verify()
    expect(faults, what).toContainEqual(expect.objectContaining({ file: path, offset, page, table }))
    await opened.close()
  }

  test('writing to what a damaged page holds fails alone: other writes go on, and the database opens again', async () => {
    const blocks = await currentBlocks()
    const leaf = blocks.find(({ kind, table, level }) => kind === 1 && level === 0 && table >= 16)
    const directory = places.copyOf(closed)
    flip(join(directory, 'data'), (leaf?.offset as number) + 300)
    let opened = await openSmall(directory)
    const name = opened.tables().find(({ id }) => id === leaf?.table)?.name as string
    const damaged = opened.openTable(name)
    const failures: HyphaError[] = []
    for (let n = 0; n < ROWS; n += 5) {
      for (const write of [
        () => opened.put(damaged, keyOf(n), valueOf(n)),
        () => opened.delete(damaged, keyOf(n + 1)),
      ]) {
        try {
          await write()
        } catch (error) {
          failures.push(error as HyphaError)
        }
      }
    }
    expect(failures.length).toBeGreaterThan(0)
    for (const failure of failures) expect(failure).toMatchObject({ code: 'HYPHA_CORRUPT' })
    const other = opened.openTable('another')
    await opened.put(other, keyOf(1), valueOf(1))
    await opened.close()
    opened = await openSmall(directory)
    expect(readRows(opened, 'another', 2).right).toBe(1)
    await opened.close()
  })
})
