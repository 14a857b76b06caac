/** A worker thread terminated in the middle of writing is dead like a killed process, and its process lives. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import { openDatabase } from 'hyphadb/internal/documents/database.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkEverything, fingerprint, type Opened } from './checks.js'
import { Crew, SMALL } from './crew.js'
import type { MemberConfig } from './protocol.js'
import { Writer } from './roles.js'
import { Stalls } from './stalls.js'
import { STALL_MS_MAX } from './victims.js'
import { openTables } from './workload.js'

const ROUNDS = 24
const seed = testSeed()

describe(`a worker thread that is terminated (seed ${seed})`, () => {
  const random = new SeededRandom(seed)
  const crew = new Crew(seed, { ...SMALL, housekeeping: 'none' })
  const configOf = (name: string): MemberConfig => ({
    directory: crew.directory,
    journals: crew.journals,
    name,
    role: 'writer',
    seed,
    options: crew.options,
    care: true,
  })
  const stalls = new Stalls()
  let opened: Opened
  let writer: Writer

  beforeAll(async () => {
    const engine = await openEngine(crew.directory, crew.options)
    const db = await openDatabase(() => Promise.resolve(engine))
    opened = { engine, db, tables: openTables(engine), seed, journals: crew.journals }
    writer = new Writer(opened, configOf('main'), stalls)
  })
  afterAll(() => crew.end())

  it('leaves the main thread and its snapshot as they were', async () => {
    await writer.write('none')
    const snapshot = opened.engine.snapshot()
    const print = fingerprint(snapshot, opened.tables)
    for (let round = 0; round < ROUNDS; round++) {
      const worker = new Worker(new URL('./thread.js', import.meta.url), {
        workerData: configOf('thread'),
        execArgv: [],
      })
      const failed = once(worker, 'error').then(([error]) => Promise.reject(error))
      failed.catch(() => undefined)
      await Promise.race([once(worker, 'message'), failed])
      await Promise.race([new Promise(resolve => setTimeout(resolve, random.below(80))), failed])
      await worker.terminate()
      for (let i = 0; i < 3; i++) await writer.step()
      expect(fingerprint(snapshot, opened.tables)).toBe(print)
      const subjects = ['main', 'thread'].map(name => ({ kind: 'writer' as const, name }))
      expect(checkEverything(opened, subjects)).toEqual([])
      if (round % 6 === 5) expect((await opened.engine.verify()).faults).toEqual([])
    }
    snapshot.close()
    expect(stalls.longestMs).toBeLessThan(STALL_MS_MAX)
  }, 120_000)

  it('leaves a database that closes and opens in order', async () => {
    await writer.settled()
    await opened.engine.close()
    const next = await crew.open('next', 'idle')
    await crew.check(next)
    await next.close()
  }, 60_000)
})
