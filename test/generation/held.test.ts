/** What is held through a generation switch fails with a code, and never shows anything wrong. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Crew } from './crew.js'
import type { Outcome } from './protocol.js'

const CODES = ['', 'HYPHA_SNAPSHOT_TOO_OLD']
const care = { housekeeping: 'none' as const }

describe('held through a generation switch', () => {
  let crew: Crew
  beforeEach(() => {
    crew = new Crew()
  })
  afterEach(() => crew.end())

  for (const first of ['builder', 'reader'] as const) {
    it(`a cursor, a snapshot and a transaction, when the ${first} is the first to go on`, async () => {
      const builder = await crew.open('builder', care)
      const reader = await crew.open('reader', care)
      await builder.ask({ type: 'fill' })
      for (let i = 0; i < 20; i++) await builder.ask({ type: 'once', durability: 'none' })
      await reader.ask({ type: 'take' })
      await reader.ask({ type: 'holdTransaction' })
      expect(await reader.try({ type: 'cursor', rows: 30 })).toMatchObject({ code: '' })
      if (first === 'builder') {
        expect(await builder.try({ type: 'renew' })).toMatchObject({ code: '' })
        // Blocks of the old region's map are used again.
        for (let i = 0; i < 3; i++) {
          await builder.ask({ type: 'fill' })
          await builder.ask({ type: 'checkpoint' })
        }
      } else {
        expect(await reader.try({ type: 'renew' })).toMatchObject({ code: '' })
      }
      let outcome: Outcome = { code: '', message: '', milliseconds: 0 }
      for (let i = 0; i < 40 && outcome.code === ''; i++) outcome = await reader.try({ type: 'cursor', rows: 10 })
      expect(CODES, outcome.message).toContain(outcome.code)
      expect((await reader.try({ type: 'endCursor' })).code).toBe('')
      expect((await reader.try({ type: 'held' })).code).toBe('HYPHA_SNAPSHOT_TOO_OLD')
      expect((await reader.try({ type: 'letGo' })).code).toBe('')
      const transaction = await reader.ask<Outcome & { calls: number }>({ type: 'releaseTransaction' })
      expect(transaction).toMatchObject({ code: '', calls: 2 })
      await crew.check(reader)
      await crew.check(builder)
    })
  }
})
