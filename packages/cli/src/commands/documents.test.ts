import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { done, hypha, scratch } from '../command.test-support.js'

describe('hypha get, put and delete', () => {
  test('a document comes back as it went in', async () => {
    const database = join(scratch(), 'db')
    const text =
      '{"id":"a","when":{"$date":"2020-02-29T12:00:00.000Z"},"big":{"$bigint":"9007199254740993"},"raw":{"$bytes":"AAH/"},"deep":{"list":[1,null,"é"]}}'
    expect(await done(['put', database, 'things', text])).toBe('a\n')
    expect(JSON.parse(await done(['get', database, 'things', 'a', '--typed']))).toEqual(JSON.parse(text))
    expect(JSON.parse(await done(['get', database, 'things', 'a']))).toMatchObject({ when: '2020-02-29T12:00:00.000Z' })
  })

  test('an id is text, or else what it is as JSON', async () => {
    const database = join(scratch(), 'db')
    await done(['put', database, 'things', '{"id":7,"is":"number"}'])
    expect(await done(['get', database, 'things', '7'])).toBe('{"id":7,"is":"number"}\n')
    await done(['put', database, 'things', '-'], '{"id":"7","is":"text"}')
    expect(await done(['get', database, 'things', '7'])).toBe('{"id":"7","is":"text"}\n')
    expect(await done(['get', database, 'things', '7', '--json-id'])).toBe('{"id":7,"is":"number"}\n')
    expect(JSON.parse(await done(['delete', database, 'things', '7', '--json-id', '--json']))).toEqual({ deleted: 1 })
    expect(await done(['count', database, 'things'])).toBe('1\n')
  })

  test('an id is made where a document has none, and printed', async () => {
    const database = join(scratch(), 'db')
    const { id } = JSON.parse(await done(['put', database, 'things', '{"n":1}', '--json'])) as { id: string }
    expect(JSON.parse(await done(['get', database, 'things', id]))).toEqual({ id, n: 1 })
  })

  test('what is not there is HYPHA_NOT_FOUND', async () => {
    const database = join(scratch(), 'db')
    await done(['put', database, 'things', '{"id":1}'])
    for (const args of [
      ['get', database, 'things', '2'],
      ['delete', database, 'things', '2'],
      ['get', database, 'thing', '1'],
      ['get', `${database}x`, 'things', '1'],
    ]) {
      const { code, stderr } = await hypha(args)
      expect([code, stderr], args.join(' ')).toEqual([1, expect.stringMatching(/^HYPHA_NOT_FOUND: /)])
    }
  })

  test('a document that is no JSON object is wrong usage', async () => {
    for (const text of ['[1]', 'x', '{"$date":"2020-01-01"}', '{"a":{"$bigint":1}}']) {
      expect((await hypha(['put', '/nowhere/db', 'things', text])).code, text).toBe(2)
    }
  })
})
