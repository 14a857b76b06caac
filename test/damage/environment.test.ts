/** What the machine may lack: room, memory, permission, descriptors, a working disk. A coded error, and nothing lost. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fromErrno, HyphaError } from 'hyphadb/internal/base/errors.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import * as Layout from 'hyphadb/internal/memory/layout.js'
import { TemporaryDirectory } from 'hyphadb/internal/os/children.test.helper.js'
import { afterAll, describe, expect, test } from 'vitest'
import { SimulatedDisk } from '../simulation/simulated-disk.js'
import {
  addToLog,
  fill,
  keyOf,
  LARGE_ROWS,
  openingError,
  openSmall,
  Places,
  ROWS,
  readRows,
  valueOf,
} from './fixture.js'

const places = new Places()
afterAll(() => places.remove())

const MIB = 1 << 20

async function failureOf(work: () => unknown): Promise<HyphaError | undefined> {
  try {
    await work()
  } catch (error) {
    if (error instanceof HyphaError) return error
    throw error
  }
  return undefined
}

/** Puts rows into 'filler' until there is no room. Returns how many are there, and the failure. */
async function fillUp(
  engine: HyphaEngine,
  valueBytes: number,
  from = 0,
): Promise<{ rows: number; failure: HyphaError }> {
  const table = engine.openTable('filler')
  for (let n = from; n < 1_000_000; n++) {
    const failure = await failureOf(() =>
      engine.put(table, keyOf(n), valueOf(n, valueBytes), { durability: n % 8 === 0 ? 'commit' : 'none' }),
    )
    if (failure !== undefined) return { rows: n, failure }
    if (n % 50 === 0) engine.housekeep()
  }
  throw new Error('the disk has no end')
}

function smallDisk(bytes: number, skip: (note: string) => void): TemporaryDirectory {
  const disk = TemporaryDirectory.small(bytes)
  if (disk === undefined) skip('no file system may be mounted here')
  return disk as TemporaryDirectory
}

describe('a full disk', () => {
  test.each([60, 9000])(
    'rows of %i bytes until it is full: a coded error, everything there, deletes possible, and on with new room',
    async valueBytes => {
      using disk = TemporaryDirectory.small(8 * MIB)
      if (disk === undefined) return // no file system may be mounted here
      const memory = places.fresh()
      const directory = disk.file('db')
      let engine = await openSmall(directory, { sharedMemoryDirectory: memory, checkpointBytes: 500_000 })
      await fill(engine)
      writeFileSync(disk.file('ballast'), Buffer.alloc(MIB))
      const { rows, failure } = await fillUp(engine, valueBytes)
      expect(failure.code).toBe('HYPHA_DISK_FULL')
      expect(failure.message).toMatch(/free some space|room/i)
      expect(rows).toBeGreaterThan(20)
      const isWhole = (): void => {
        expect(readRows(engine, 'filler', rows, valueBytes)).toEqual({ right: rows, wrong: [], errors: [] })
        expect(readRows(engine, 'first', ROWS)).toEqual({ right: ROWS, wrong: [], errors: [] })
      }
      isWhole()
      // Again and again: it stays an error, and stays harmless.
      for (let n = 0; n < 20; n++) {
        const again = await failureOf(() =>
          engine.put(engine.openTable('filler'), keyOf(rows), valueOf(rows, valueBytes)),
        )
        if (again !== undefined) expect(again.code).toBe('HYPHA_DISK_FULL')
        else await engine.delete(engine.openTable('filler'), keyOf(rows))
      }
      isWhole()
      // Deletes get through: a checkpoint is always possible, and gives back what the log held.
      const table = engine.openTable('second')
      for (let n = 0; n < ROWS; n++) {
        const refused = await failureOf(() => engine.delete(table, keyOf(n)))
        if (refused === undefined) continue
        expect(refused.code).toBe('HYPHA_DISK_FULL')
        await engine.checkpoint()
        await engine.delete(table, keyOf(n))
      }
      await engine.checkpoint()
      isWhole()
      expect(readRows(engine, 'second', ROWS).wrong).toHaveLength(ROWS)
      // Room comes back from outside.
      rmSync(disk.file('ballast'))
      await engine.put(engine.openTable('filler'), keyOf(rows), valueOf(rows, valueBytes))
      expect((await engine.verify()).faults).toEqual([])
      await engine.close()
      engine = await openSmall(directory, { sharedMemoryDirectory: memory })
      expect(readRows(engine, 'filler', rows + 1, valueBytes)).toEqual({ right: rows + 1, wrong: [], errors: [] })
      await engine.close()
    },
    60_000,
  )

  test('a log without room for another byte: checkpoints are possible, deletes are, and what they give back is used', async () => {
    const directory = places.fresh()
    const memory = places.fresh()
    mkdirSync(join(directory, 'db'))
    const files = new SimulatedDisk(directory)
    const engine = await openSmall(join(directory, 'db'), { files, sharedMemoryDirectory: memory })
    await fill(engine)
    await engine.checkpoint()
    await addToLog(engine, 10)
    files.freeSpace = 0
    const table = engine.openTable('first')
    const untilFull = async (write: () => Promise<void>): Promise<void> => {
      for (let n = 0; n < 100_000; n++) {
        const failure = await failureOf(write)
        if (failure === undefined) continue
        expect(failure.code).toBe('HYPHA_DISK_FULL')
        return
      }
      throw new Error('the log has no end')
    }
    for (const length of [400, 60, 5, 1, 0]) {
      await untilFull(() => engine.put(table, keyOf(0), valueOf(0, length), { durability: 'none' }))
    }
    await engine.delete(table, keyOf(0))
    await untilFull(() => engine.delete(table, Buffer.from('none'), { durability: 'none' }))
    await engine.checkpoint()
    // What the log held before the checkpoint is free again.
    for (let n = 1; n < 100; n++) await engine.delete(table, keyOf(n))
    expect((await engine.verify()).faults).toEqual([])
    await engine.close()
  })

  test('a full disk at closing and opening: everything is there once it has room', async ({ skip }) => {
    using disk = smallDisk(8 * MIB, note => skip(note))
    const directory = disk.file('db')
    let engine = await openSmall(directory)
    await fill(engine)
    await engine.checkpoint()
    await addToLog(engine, 300)
    const room = (): number =>
      Number(execFileSync('df', ['--output=avail', '-B1', disk.path]).toString().split('\n')[1])
    writeFileSync(disk.file('ballast'), Buffer.alloc(room()))
    await failureOf(() => engine.close())
    const refused = await failureOf(async () => {
      engine = await openSmall(directory)
      await engine.close()
    })
    if (refused !== undefined) expect(refused.code).toBe('HYPHA_DISK_FULL')
    rmSync(disk.file('ballast'))
    engine = await openSmall(directory)
    expect(readRows(engine, 'logged', 300)).toEqual({ right: 300, wrong: [], errors: [] })
    expect(readRows(engine, 'large', LARGE_ROWS, 20_000).right).toBe(LARGE_ROWS)
    expect((await engine.verify()).faults).toEqual([])
    await engine.close()
  }, 60_000)

  test('a new database on a full disk is refused, and can be made when there is room', async ({ skip }) => {
    using disk = smallDisk(MIB, note => skip(note))
    const memory = places.fresh()
    writeFileSync(disk.file('ballast'), Buffer.alloc(MIB - 8 * 4096))
    const directory = disk.file('db')
    for (let attempt = 0; attempt < 3; attempt++) {
      expect((await openingError(directory, { sharedMemoryDirectory: memory })).code).toBe('HYPHA_DISK_FULL')
    }
    expect(readdirSync(memory)).toEqual([])
    rmSync(disk.file('ballast'))
    const engine = await openSmall(directory, { sharedMemoryDirectory: memory })
    await engine.put(engine.openTable('t'), keyOf(1), valueOf(1))
    await engine.close()
  })
})

describe('shared memory', () => {
  test('too little of it: HYPHA_SHM_FULL says what to do and leaves nothing behind', async ({ skip }) => {
    for (const bytes of [64 * 1024, MIB, 3 * MIB]) {
      using memory = smallDisk(bytes, note => skip(note))
      const directory = places.fresh()
      const error = await openingError(directory, { sharedMemoryDirectory: memory.path, memory: '64MB', frames: 4096 })
      expect(error.code).toBe('HYPHA_SHM_FULL')
      expect(error.message).toMatch(/memory/)
      expect(readdirSync(memory.path)).toEqual([])
      const engine = await openSmall(directory)
      await engine.close()
    }
  })

  test('it becomes full while the pool grows: the pool stays as it is, and work goes on', async ({ skip }) => {
    using memory = smallDisk(24 * MIB, note => skip(note))
    const engine = await openSmall(places.fresh(), { sharedMemoryDirectory: memory.path, memory: '20MB', frames: 8000 })
    await fill(engine)
    const room = (): number =>
      Number(execFileSync('df', ['--output=avail', '-B1', memory.path]).toString().split('\n')[1])
    writeFileSync(memory.file('ballast'), Buffer.alloc(Math.max(0, room() - 8192)))
    const table = engine.openTable('more')
    for (let n = 0; n < 3000; n++) void engine.put(table, keyOf(n), valueOf(n, 3000))
    await engine.flushed()
    expect(readRows(engine, 'more', 3000, 3000)).toEqual({ right: 3000, wrong: [], errors: [] })
    expect((await engine.verify()).faults).toEqual([])
    await engine.close()
  }, 60_000)

  test('a region of another layout is left alone, with HYPHA_VERSION', async () => {
    const memory = places.fresh()
    const directory = places.fresh()
    const engine = await openSmall(directory, { sharedMemoryDirectory: memory })
    const control = join(memory, readdirSync(memory).find(name => name.endsWith('.control')) as string)
    engine.core.region.control.i32[Layout.HEADER_LAYOUT_I] = Layout.LAYOUT_VERSION + 1
    const error = await openingError(directory, { sharedMemoryDirectory: memory })
    expect(error.code).toBe('HYPHA_VERSION')
    engine.core.region.control.i32[Layout.HEADER_LAYOUT_I] = Layout.LAYOUT_VERSION
    await engine.put(engine.openTable('t'), keyOf(1), valueOf(1))
    expect(statSync(control).size).toBeGreaterThan(0)
    await engine.close()
  })
})

describe('a directory that was copied while it was in use', () => {
  test('the copy opens by itself; the original and its region are untouched', async () => {
    const memory = places.fresh()
    const original = places.fresh()
    const engine = await openSmall(original, { sharedMemoryDirectory: memory })
    await fill(engine)
    await addToLog(engine, 20)
    const region = readdirSync(memory)
    const copied = places.fresh()
    cpSync(original, copied, { recursive: true })
    const copy = await openSmall(copied, { sharedMemoryDirectory: memory })
    expect(readRows(copy, 'first', ROWS).right).toBe(ROWS)
    expect(readRows(copy, 'logged', 20).right).toBe(20)
    expect(readdirSync(memory)).toEqual(expect.arrayContaining(region))
    await copy.put(copy.openTable('logged'), keyOf(5), Buffer.from('of the copy'))
    await engine.put(engine.openTable('logged'), keyOf(6), Buffer.from('of the original'))
    await copy.close()
    expect(readdirSync(memory)).toEqual(region)
    expect(engine.latest.get(engine.openTable('logged'), keyOf(5))).toEqual(valueOf(5))
    expect(engine.latest.get(engine.openTable('logged'), keyOf(6))?.toString()).toBe('of the original')
    // Joining the original still works.
    const second = await openSmall(original, { sharedMemoryDirectory: memory })
    expect(second.latest.get(second.openTable('logged'), keyOf(6))?.toString()).toBe('of the original')
    await second.close()
    expect((await engine.verify()).faults).toEqual([])
    await engine.close()
  })
})

describe('permission', () => {
  /** Runs a script as a user who is not root: root may do anything. */
  function asNobody(directory: string, body: string): { code: string; message: string } {
    const script = `
      process.setgid(65534); process.setuid(65534)
      const { openEngine } = await import(${JSON.stringify(fileURLToPath(import.meta.resolve('hyphadb/internal/engine/open.js')))})
      const directory = ${JSON.stringify(directory)}
      const options = { housekeeping: 'none', frames: 64, pageSize: 4096, segmentBytes: 65536 }
      try { ${body}; console.log(JSON.stringify({ code: 'none', message: '' })) }
      catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message })) }
      process.exit(0)`
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
    })
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout.trim().split('\n').at(-1) as string) as { code: string; message: string }
  }

  test('a directory that may not be written, and one that may not be entered', async ({ skip }) => {
    if (process.getuid?.() !== 0) skip('needs another user to be')
    const directory = places.fresh()
    const engine = await openSmall(directory)
    await engine.close()
    chmodSync(places.root, 0o755)
    chmodSync(directory, 0o755)
    for (const mode of [0o755, 0o000]) {
      chmodSync(directory, mode)
      const { code, message } = asNobody(directory, 'await openEngine(directory, options)')
      expect(code).toBe('HYPHA_PERMISSION')
      expect(message).toContain(directory)
    }
    const parent = places.fresh()
    chmodSync(parent, 0o755)
    const made = asNobody(join(parent, 'new'), 'await openEngine(directory, options)')
    expect(made.code).toBe('HYPHA_PERMISSION')
    chmodSync(directory, 0o700)
    const again = await openSmall(directory)
    await again.close()
  })

  test('a file system mounted read-only is refused as such', async ({ skip }) => {
    using disk = smallDisk(8 * MIB, note => skip(note))
    const engine = await openSmall(disk.file('db'))
    await engine.close()
    execFileSync('mount', ['-o', 'remount,ro', disk.path])
    expect((await openingError(disk.file('db'))).code).toBe('HYPHA_READ_ONLY')
    execFileSync('mount', ['-o', 'remount,rw', disk.path])
    await (await openSmall(disk.file('db'))).close()
  })

  test('a path that is a file, and one below a file', async () => {
    const path = join(places.fresh(), 'file')
    writeFileSync(path, 'hello')
    for (const wrong of [path, join(path, 'below')]) {
      const error = await openingError(wrong)
      expect(['HYPHA_INVALID', 'HYPHA_NOT_FOUND']).toContain(error.code)
      expect(error.message).toContain(path)
    }
    expect(readFileSync(path, 'utf8')).toBe('hello')
  })
})

describe('too many open files', () => {
  test('opening, writing and reading fail with a code, and all is well when there are descriptors again', async () => {
    const script = `
      import { openSync, closeSync } from 'node:fs'
      const { openEngine } = await import(${JSON.stringify(fileURLToPath(import.meta.resolve('hyphadb/internal/engine/open.js')))})
      const options = { housekeeping: 'none', frames: 64, pageSize: 4096, segmentBytes: 8192, logRingBytes: 16384 }
      const hog = () => { const all = []; try { for (;;) all.push(openSync('/dev/null')) } catch {} return all }
      const codes = new Set()
      const attempt = async work => { try { await work() } catch (error) { codes.add(error.code ?? String(error)) } }
      let all = hog()
      for (let leave = 0; leave < 12; leave++) {
        await attempt(async () => { await (await openEngine(process.argv[1], options)).close() })
        closeSync(all.pop())
      }
      for (const fd of all) closeSync(fd)
      const engine = await openEngine(process.argv[1], options)
      const table = engine.openTable('t')
      all = hog()
      const stored = []
      for (let n = 0; n < 100; n++) await attempt(async () => { await engine.put(table, Buffer.from('k' + n), Buffer.alloc(200, n)); stored.push(n) })
      const during = stored.length
      for (const fd of all) closeSync(fd)
      for (let n = 0; n < 100; n++) { await engine.put(table, Buffer.from('m' + n), Buffer.alloc(200, n)) }
      await engine.checkpoint()
      const missing = stored.filter(n => engine.latest.get(table, Buffer.from('k' + n))?.[0] !== n)
      const { faults } = await engine.verify()
      await engine.close()
      console.log(JSON.stringify({ codes: [...codes], during, missing, faults }))`
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', `ulimit -n 64; exec ${process.execPath} --input-type=module --eval "$0" -- "$1"`, script, places.fresh()],
      { encoding: 'utf8' },
    )
    if (stdout === '') throw new Error(stderr)
    const result = JSON.parse(stdout) as { codes: string[]; missing: number[]; faults: unknown[] }
    expect(result).toMatchObject({ codes: ['HYPHA_TOO_MANY_FILES'], missing: [], faults: [] })
  }, 60_000)
})

describe('a disk that fails', () => {
  async function onFailingDisk(
    kind: 'write' | 'sync',
    file: 'log' | 'data',
    provoke: (engine: HyphaEngine) => Promise<unknown>,
    check: (engine: HyphaEngine, failure: HyphaError | undefined) => Promise<void>,
  ): Promise<void> {
    const directory = places.fresh()
    const memory = places.fresh()
    const files = new SimulatedDisk(directory)
    mkdirSync(join(directory, 'db'))
    const options = { files, sharedMemoryDirectory: memory }
    const engine = await openSmall(join(directory, 'db'), options)
    await fill(engine)
    await engine.checkpoint()
    await addToLog(engine, 10)
    files.beforeOperation = (operation, path) => {
      if (operation === kind && path.includes(file === 'log' ? '.segment' : '/db/data')) throw fromErrno(5, kind, path)
    }
    const failure = await failureOf(() => provoke(engine))
    await check(engine, failure)
    // Reading goes on; so does everything after the disk is mended and the database opened again.
    expect(readRows(engine, 'first', ROWS)).toEqual({ right: ROWS, wrong: [], errors: [] })
    files.beforeOperation = undefined
    await failureOf(() => engine.close())
    const again = await openSmall(join(directory, 'db'), options)
    expect(readRows(again, 'first', ROWS)).toEqual({ right: ROWS, wrong: [], errors: [] })
    expect(readRows(again, 'large', LARGE_ROWS, 20_000).right).toBe(LARGE_ROWS)
    expect(readRows(again, 'logged', 10).right).toBe(10)
    expect((await again.verify()).faults).toEqual([])
    await again.put(again.openTable('logged'), keyOf(1), Buffer.from('new'))
    await again.close()
  }

  test.each(['write', 'sync'] as const)(
    'a %s of the log fails: that commit is not acknowledged, the database is poisoned, reading goes on',
    async kind => {
      const provoke = (engine: HyphaEngine): Promise<void> =>
        engine.put(engine.openTable('logged'), keyOf(50), valueOf(50))
      await onFailingDisk(kind, 'log', provoke, async (engine, failure) => {
        expect(failure?.code).toBe('HYPHA_POISONED')
        const next = await failureOf(() => engine.put(engine.openTable('logged'), keyOf(51), valueOf(51)))
        expect(next?.code).toBe('HYPHA_POISONED')
        expect(
          (await failureOf(() => engine.transactSync(tx => tx.put(engine.openTable('logged'), keyOf(52), valueOf(52)))))
            ?.code,
        ).toBe('HYPHA_POISONED')
        expect((await failureOf(() => engine.flushed()))?.code).toBe('HYPHA_POISONED')
      })
    },
  )

  test('a write of a page fails in a checkpoint: that is told, and nothing is lost', async () => {
    await onFailingDisk(
      'write',
      'data',
      engine => engine.checkpoint(),
      async (_engine, failure) => {
        expect(['HYPHA_IO', 'HYPHA_POISONED']).toContain(failure?.code)
      },
    )
  })

  test('a sync of the data file fails in a checkpoint: poisoned, since what it was to save may be gone', async () => {
    await onFailingDisk(
      'sync',
      'data',
      engine => engine.checkpoint(),
      async (engine, failure) => {
        expect(failure).toBeDefined()
        const next = await failureOf(() => engine.put(engine.openTable('logged'), keyOf(51), valueOf(51)))
        expect(next?.code).toBe('HYPHA_POISONED')
      },
    )
  })
})
