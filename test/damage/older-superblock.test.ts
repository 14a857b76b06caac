/**
 * The power fails when a checkpoint's superblock is on disk and its completion record is not; recovery starts from it and
 * uses blocks again that only the older one named. From then on the older one must never serve, whatever happens to the
 * newer.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { armFault } from 'hyphadb/internal/base/fault-points.js'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { readSuperblocks, type Superblock } from 'hyphadb/internal/pages/superblock.js'
import { afterAll, expect, test } from 'vitest'
import { SimulatedDisk } from '../simulation/simulated-disk.js'
import { keyOf, openSmall, Places, readRows, valueOf } from './fixture.js'

const places = new Places()
afterAll(() => places.remove())

function open(disk: SimulatedDisk): Promise<HyphaEngine> {
  disk.mount = places.fresh()
  mkdirSync(join(disk.mount, 'db'))
  mkdirSync(join(disk.mount, 'memory'))
  return openSmall(join(disk.mount, 'db'), {
    files: disk,
    sharedMemoryDirectory: join(disk.mount, 'memory'),
    frames: 32,
  })
}

test('an older superblock never serves once blocks that it names may have been used again', async () => {
  const rows = 400
  const disk = new SimulatedDisk('/')
  const engine = await open(disk)
  const table = engine.openTable('t')
  for (let n = 0; n < rows; n++) void engine.put(table, keyOf(n), Buffer.from('old'))
  await engine.checkpoint()
  for (let n = 0; n < rows; n++) void engine.put(table, keyOf(n), valueOf(n, 150))
  await engine.flushed()
  let cut: SimulatedDisk | undefined
  armFault('checkpoint.superblock-synced', 1, () => {
    cut = disk.afterPowerLoss(new SeededRandom(1), name => (name.endsWith('.segment') ? false : undefined))
  })
  await engine.checkpoint()
  await engine.close()
  expect(cut).toBeDefined()

  const found = cut as SimulatedDisk
  const second = await open(found)
  const { epoch } = second.stats().checkpoint
  expect(readRows(second, 't', rows, 150).right).toBe(rows)
  // Pages leave memory for blocks that the older checkpoint held.
  const more = second.openTable('more')
  for (let n = 0; n < 1500; n++) void second.put(more, keyOf(n), valueOf(n, 150))
  await second.flushed()
  const next = found.afterPowerLoss(new SeededRandom(2))
  await second.close()

  // It stands in both slots by now, so that even this costs nothing.
  expect(spoilNewest(next)).toBe(epoch - 1)
  const third = await open(next)
  expect(readRows(third, 't', rows, 150)).toEqual({ right: rows, wrong: [], errors: [] })
  expect(readRows(third, 'more', 1500, 150).right).toBe(1500)
  await third.close()
})

test('a checkpoint that was complete is known to have been, also after a power failure', async () => {
  const disk = new SimulatedDisk('/')
  const engine = await open(disk)
  const table = engine.openTable('t')
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 200; n++) void engine.put(table, keyOf(n), valueOf(n + round, 150))
    await engine.checkpoint()
  }
  const found = disk.afterPowerLoss(new SeededRandom(3), () => false)
  await engine.close()
  spoilNewest(found)
  await expect(open(found)).rejects.toMatchObject({ code: 'HYPHA_CORRUPT' })
})

/** Damages both copies of the newest superblock; returns its epoch. */
function spoilNewest(disk: SimulatedDisk): number {
  const file = disk.open(join(disk.mount, 'db/data'))
  const { epoch } = readSuperblocks(file).valid[0] as Superblock
  file.write(Buffer.alloc(8192, 0x55), 0, 8192, (epoch & 1) * 8192)
  file.sync()
  file.close()
  return epoch
}
