/** Two power failures in a row, each with a torn record before an intact one: what lay behind the torn one never comes back. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { listPaths, readWholeFile } from 'hyphadb/internal/os/file-system.js'
import { afterAll, expect, test } from 'vitest'
import { SimulatedDisk } from './simulated-disk.js'

const root = mkdtempSync(join(tmpdir(), 'hyphadb-torn-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let lives = 0

function open(disk: SimulatedDisk): Promise<HyphaEngine> {
  disk.mount = join(root, String(lives++))
  mkdirSync(join(disk.mount, 'db'), { recursive: true })
  mkdirSync(join(disk.mount, 'memory'))
  const memory = join(disk.mount, 'memory')
  return openEngine(join(disk.mount, 'db'), {
    files: disk,
    sharedMemoryDirectory: memory,
    pageSize: 4096,
    frames: 64,
    segmentBytes: 65_536,
    housekeeping: 'none',
  })
}

const keysOf = (engine: HyphaEngine): string[] => {
  const cursor = engine.range(engine.openTable('t'))
  const keys: string[] = []
  while (cursor.next()) keys.push(cursor.keyBuffer.latin1Slice(0, cursor.keyLength))
  return keys
}

/** True when a segment has the whole value that `tearFirstOfTwo` writes under this name. */
function logHolds(disk: SimulatedDisk, name: string): boolean {
  const log = join(disk.mount, 'db/log')
  return listPaths(disk, log).some(path => readWholeFile(disk, path)?.includes(Buffer.alloc(1500, name)))
}

/** Two commits in the files and not synced, of which the write of the first is lost and that of the second is not. */
async function tearFirstOfTwo(
  engine: HyphaEngine,
  disk: SimulatedDisk,
  names: [string, string],
): Promise<SimulatedDisk> {
  const table = engine.openTable('t')
  await engine.flushed()
  for (const name of names) {
    void engine.put(table, Buffer.from(name), Buffer.alloc(1500, name), { durability: 'none' })
    engine.core.log.write()
  }
  return disk.afterPowerLoss(new SeededRandom(1), (file, n) => (file.endsWith('.segment') ? n > 0 : undefined))
}

test('two power failures in a row, each with a torn record before an intact one', async () => {
  let disk = new SimulatedDisk('/')
  let engine = await open(disk)
  await engine.put(engine.openTable('t'), Buffer.from('kept'), Buffer.from('value'))
  for (const names of [
    ['lost1', 'intact1'],
    ['lost2', 'intact2'],
    ['lost3', 'intact3'],
  ] as const) {
    const next = await tearFirstOfTwo(engine, disk, [...names])
    await engine.close()
    expect(logHolds(next, names[0]), 'the first is torn').toBe(false)
    expect(logHolds(next, names[1]), 'the second is whole').toBe(true)
    disk = next
    engine = await open(disk)
    expect(keysOf(engine)).toEqual(['kept'])
    expect((await engine.verify()).faults).toEqual([])
  }
  await engine.put(engine.openTable('t'), Buffer.from('later'), Buffer.from('value'))
  const last = disk.afterPowerLoss(new SeededRandom(2))
  await engine.close()
  engine = await open(last)
  expect(keysOf(engine)).toEqual(['kept', 'later'])
  await engine.close()
})
