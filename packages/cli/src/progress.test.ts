import { expect, describe as suite, test } from 'vitest'
import { describe } from './progress.js'

suite('progress', () => {
  const state = { bytes: 50, totalBytes: 100, records: 12_345, rejected: 0 }

  test('shows share, records, rate and what is left', () => {
    expect(describe('import a.csv', state, 2, true)).toBe(
      'import a.csv  [============            ]  50 %  12,345 records  6,173/s  2 s left',
    )
  })

  test('leaves out what it cannot know, and names what was rejected', () => {
    expect(describe('import -', { ...state, totalBytes: 0, rejected: 1 }, 1, true)).toBe(
      'import -  12,345 records  12,345/s  1 rejected',
    )
  })
})
