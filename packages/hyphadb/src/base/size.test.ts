import { describe, expect, it } from 'vitest'
import { formatBytes, parseBytes } from './size.js'

describe('parseBytes', () => {
  it.each([
    ['256MB', 268435456],
    ['256 MiB', 268435456],
    ['1.5g', 1610612736],
    ['64k', 65536],
    ['100', 100],
    ['7 b', 7],
    [4096, 4096],
  ])('reads %s', (text, bytes) => {
    expect(parseBytes(text, 'memory')).toBe(bytes)
  })

  it.each(['', 'MB', '-1', '1 XB', '1e400', Number.NaN, -1, 1.5, '99999999 TB'])(
    'refuses %s and names the option',
    text => {
      expect(() => parseBytes(text, 'memory')).toThrow("'memory' must be")
    },
  )

  it('prints sizes for people', () => {
    expect([0, 1023, 1024, 67_000_000, 2 ** 40].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1 KiB',
      '63.9 MiB',
      '1 TiB',
    ])
  })
})
