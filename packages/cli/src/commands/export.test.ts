import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { done, hypha, rows, scratch } from '../command.test-support.js'

const DOCUMENTS = [
  { id: 'a', n: 1, text: 'plain', when: { $date: '2020-01-01T00:00:00.000Z' } },
  { id: 'b', n: -2.5, text: 'comma, "quote"\nand line', big: { $bigint: '12' } },
  { id: 'c', list: [1, { x: null }], text: ' spaces ' },
]

async function filled(directory: string): Promise<string> {
  const database = join(directory, 'db')
  await done(
    ['import', database, 'things', '-', '--json'],
    DOCUMENTS.map(document => JSON.stringify(document)).join('\n'),
  )
  return database
}

describe('hypha export', () => {
  test('typed JSON lines give the same documents when imported', async () => {
    const directory = scratch()
    const database = await filled(directory)
    const file = join(directory, 'out.jsonl')
    expect(JSON.parse(await done(['export', database, 'things', file, '--typed', '--json']))).toEqual({ records: 3 })
    await done(['import', join(directory, 'copy'), 'things', file, '--json'])
    expect(rows(await done(['export', join(directory, 'copy'), 'things', '--typed']))).toEqual(DOCUMENTS)
  })

  test('CSV has all fields that occur, quoted where they must be', async () => {
    const directory = scratch()
    const file = join(directory, 'out.csv')
    await done(['export', await filled(directory), 'things', file])
    expect(readFileSync(file, 'utf8')).toBe(
      [
        'id,n,text,when,big,list',
        'a,1,plain,2020-01-01T00:00:00.000Z,,',
        'b,-2.5,"comma, ""quote""\nand line",,12,',
        'c,," spaces ",,,"[1,{""x"":null}]"',
        '',
      ].join('\n'),
    )
  })

  test('a filter and fields choose', async () => {
    const database = await filled(scratch())
    const text = await done([
      'export',
      database,
      'things',
      '--format',
      'csv',
      '--filter',
      '{"n":{"$gt":0}}',
      '--fields',
      'n,id',
    ])
    expect(text).toBe('n,id\n1,a\n')
  })

  test('a file that cannot be made fails with a code and leaves nothing behind', async () => {
    const directory = scratch()
    const database = await filled(directory)
    const { code, stderr } = await hypha(['export', database, 'things', join(directory, 'none', 'out.jsonl')])
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^HYPHA_NOT_FOUND: /)])
    const wrong = await hypha(['export', database, 'thing', join(directory, 'out.jsonl')])
    expect(wrong.code).toBe(1)
    expect(existsSync(join(directory, 'out.jsonl'))).toBe(false)
    expect(readdirSync(directory)).toEqual(['db'])
  })
})
