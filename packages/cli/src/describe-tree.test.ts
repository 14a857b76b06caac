import { describe, expect, test } from 'vitest'
import { bytesShown, describeTree } from './describe-tree.js'

describe('describeTree', () => {
  test('aligns figures, sets sizes beside bytes, and makes tables of lists', () => {
    const text = describeTree({
      pool: { frames: 12_345, bytes: 1_572_864, empty: {} },
      tables: [
        { name: 'sales', rows: 1 },
        { name: 'a', rows: 1000, big: 5n },
      ],
      ratio: 1.2345678,
      list: [1, 2],
    })
    expect(text).toBe(
      [
        'pool',
        '  frames  12,345',
        '  bytes   1,572,864 (1.5 MiB)',
        '  empty   {}',
        'tables',
        '  name   rows   big',
        '  sales  1',
        '  a      1,000  {"$bigint":"5"}',
        'ratio  1.235',
        'list   [1,2]',
        '',
      ].join('\n'),
    )
  })

  test('sizes have the unit that suits them', () => {
    expect([0, 1023, 1024, 1.5 * 1024 ** 3].map(bytesShown)).toEqual(['0 bytes', '1023 bytes', '1.0 KiB', '1.5 GiB'])
  })
})
