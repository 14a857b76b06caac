/** Several openings within one process, and the slots of the dead. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { byteOfSlot } from 'hyphadb/internal/memory/participants.js'
import { ByteLockFile } from 'hyphadb/internal/os/byte-locks.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { COUNTER, counterOf, encodeNumber } from './content.js'
import { Crew, SMALL } from './crew.js'

describe('openings within one process', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hypha-generation-'))
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  it('two of one thread go through switches with durable writes of both under way', async () => {
    const open = (): Promise<HyphaEngine> => openEngine(join(directory, 'db'), { ...SMALL, housekeeping: 'none' })
    const [x, y] = [await open(), await open()]
    const table = x.openTable('counter')
    const raise = (engine: HyphaEngine): Promise<void> =>
      engine.transact(tx => tx.put(table, COUNTER, encodeNumber(counterOf(tx, table) + 1)), { retries: 1000 })
    let raised = 0
    for (let round = 0; round < 6; round++) {
      const writes = [raise(x), raise(y), raise(x), raise(y)]
      await new Promise(resolve => setImmediate(resolve))
      ;(round % 2 === 0 ? x : y).renewRegion()
      writes.push(raise(y), raise(x))
      await Promise.all(writes)
      raised += writes.length
      expect(counterOf(x.latest, table)).toBe(raised)
      expect(counterOf(y.latest, table)).toBe(raised)
    }
    expect(x.core.region.generation).toBe(7)
    expect((await y.verify()).faults).toEqual([])
    await x.close()
    await y.close()
  })
})

describe('the slot of a dead participant', () => {
  it('is held by the one who registers in it, and is not reaped while that one lives', async () => {
    const crew = new Crew()
    const witness = await crew.open('witness', { housekeeping: 'none' })
    const host = await crew.open('host')
    const { slot } = await host.standing()
    await host.kill()
    const next = await crew.open('next', { housekeeping: 'none' })
    const standing = await next.standing()
    expect(standing.slot).toBe(slot)
    const locks = new ByteLockFile(join(crew.database, 'attach'))
    try {
      expect(locks.isLockedByOther(byteOfSlot(slot))).toBe(true)
      for (let i = 0; i < 5; i++) {
        for (const member of [witness, next])
          expect(await member.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
      }
      expect(await witness.try({ type: 'renew' })).toMatchObject({ code: '' })
      expect(await next.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
      expect(locks.isLockedByOther(byteOfSlot((await next.standing()).slot))).toBe(true)
      await next.kill()
      expect(locks.isLockedByOther(byteOfSlot(slot))).toBe(false)
      await crew.check(witness)
    } finally {
      locks.close()
      await crew.end()
    }
  })
})
