/** A process is stopped anywhere while another one replaces the region, and wakes after the switch. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Crew, type Member, pause } from './crew.js'
import type { NamedFault } from './protocol.js'

/** Inside a change of a file. The data file has no point inside; allocating a log segment has. */
const INSIDE = ['log-write-piece', 'log-allocate-header']
const OUTSIDE = [
  'commit.latched',
  'commit.staged',
  'commit.before-point',
  'commit.after-point',
  'mtr.locked',
  'mtr.edited',
  'commit.applied',
  'commit.published',
  'flush.allocated',
  'flush.written',
  'flush.mapped',
  'pool.claimed',
  'log-write-begin',
  'log-write-done',
  'log-sync-done',
  'checkpoint.flushed',
  'checkpoint.superblock',
  'checkpoint.superblock-written',
]

const care = { housekeeping: 'none' as const }

describe('a process that is stopped through a generation switch', () => {
  let crew: Crew
  let builder: Member
  let stopped: Member
  beforeAll(async () => {
    crew = new Crew()
    builder = await crew.open('builder', care)
    stopped = await crew.open('stopped', care)
    await builder.ask({ type: 'fill' })
  })
  afterAll(() => crew.end())

  const stopAt = async (name: string): Promise<void> => {
    const fault: NamedFault = { name, count: 1, action: 'stop' }
    await stopped.arm(fault)
    void stopped.ask({ type: 'begin' })
    if (name.startsWith('checkpoint')) void stopped.try({ type: 'checkpoint' })
    await stopped.stopped()
  }

  const afterwards = async (): Promise<void> => {
    await pause(150)
    await stopped.rest()
    for (const member of [stopped, builder]) {
      expect(await member.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
      await crew.check(member)
    }
    expect((await stopped.standing()).generation).toBe((await builder.standing()).generation)
  }

  for (const name of OUTSIDE) {
    it(`at ${name}: the switch goes past it, and it goes on behind`, async () => {
      await stopAt(name)
      expect(await builder.try({ type: 'renew' })).toMatchObject({ code: '' })
      for (let i = 0; i < 30; i++)
        expect(await builder.try({ type: 'once', durability: 'none' })).toMatchObject({ code: '' })
      await builder.ask({ type: 'fill' })
      expect(await builder.try({ type: 'checkpoint' })).toMatchObject({ code: '' })
      stopped.continue()
      await afterwards()
    })
  }

  for (const name of ['commit.before-point', 'commit.after-point']) {
    it(`at ${name} through two switches: its commit is there once`, async () => {
      await stopAt(name)
      for (let round = 0; round < 2; round++) {
        expect(await builder.try({ type: 'renew' })).toMatchObject({ code: '' })
        for (let i = 0; i < 20; i++) await builder.ask({ type: 'once', durability: 'none' })
      }
      stopped.continue()
      await afterwards()
    })
  }

  it('before the commit point of a commit that nobody waits for on disk: acknowledged only once it is in the new region', async () => {
    await stopped.arm({ name: 'commit.before-point', count: 1, action: 'stop' })
    const write = stopped.try({ type: 'once', durability: 'none' })
    await stopped.stopped()
    expect(await builder.try({ type: 'renew' })).toMatchObject({ code: '' })
    await builder.ask({ type: 'once', durability: 'none' })
    stopped.continue()
    expect(await write).toMatchObject({ code: '' })
    await crew.check(builder)
  })

  for (const name of INSIDE) {
    it(`at ${name}, inside a change of a file: the builder says who is in its way, and succeeds later`, async () => {
      await stopAt(name)
      const renewal = await builder.try({ type: 'renew' })
      expect(renewal.code).toBe('HYPHA_BUSY')
      expect(renewal.message).toContain(String(stopped.pid))
      stopped.continue()
      expect(await builder.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
      await afterwards()
    })
  }

  it('and dies inside a change of a file: the switch does not wait for it', async () => {
    await stopAt('log-write-piece')
    await stopped.kill()
    expect(await builder.try({ type: 'renew' })).toMatchObject({ code: '' })
    expect(await builder.try({ type: 'once', durability: 'commit' })).toMatchObject({ code: '' })
    await crew.check(builder)
    // What is on disk says the same.
    await builder.close()
    await crew.check(await crew.open('later', care))
  })
})
