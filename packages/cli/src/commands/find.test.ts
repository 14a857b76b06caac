import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { done, ended, hypha, rows, scratch, start } from '../command.test-support.js'

const TOWNS = ['LEEDS', 'YORK', 'BATH']

async function filled(count = 30): Promise<string> {
  const database = join(scratch(), 'db')
  const lines = Array.from({ length: count }, (_, id) =>
    JSON.stringify({
      id,
      town: TOWNS[id % 3],
      price: (id * 37) % 100,
      date: { $date: new Date(Date.UTC(2020, 0, 1 + id)).toISOString() },
      in: { a: id },
    }),
  )
  await done(['import', database, 'sales', '-', '--index', 'town,price', '--index', 'date', '--json'], lines.join('\n'))
  return database
}

describe('hypha find', () => {
  test('filters, sorts, limits and projects', async () => {
    const database = await filled()
    const found = rows(
      await done([
        'find',
        database,
        'sales',
        '{"town":"LEEDS","price":{"$gte":50}}',
        '--sort',
        'price:-1',
        '--limit',
        '3',
        '--fields',
        'id,price',
      ]),
    )
    const all = Array.from({ length: 30 }, (_, id) => ({ id, price: (id * 37) % 100 }))
    const expected = all
      .filter(({ id, price }) => id % 3 === 0 && price >= 50)
      .sort((a, b) => b.price - a.price)
      .slice(0, 3)
    expect(found).toEqual(expected)
    expect(
      rows(await done(['find', database, 'sales', '--sort', '{"price":1}', '--limit', '1', '--fields', 'price'])),
    ).toMatchObject([{ price: 0 }])
  })

  test('dates in filters are dates', async () => {
    const database = await filled()
    const found = rows(
      await done(['find', database, 'sales', '{"date":{"$gte":{"$date":"2020-01-29"}}}', '--sort', 'date']),
    )
    expect(found.map(({ date }) => date)).toEqual(['2020-01-29T00:00:00.000Z', '2020-01-30T00:00:00.000Z'])
    expect(await done(['count', database, 'sales', '{"date":{"$lt":{"$date":"2020-01-11"}}}'])).toBe('10\n')
    expect(JSON.parse(await done(['count', database, 'sales', '--json']))).toEqual({ count: 30 })
  })

  test('--explain says how it would be answered', async () => {
    const database = await filled()
    const plan = await done(['find', database, 'sales', '{"town":"LEEDS"}', '--explain', '--json'])
    expect(plan.trim().split('\n')).toHaveLength(1)
    expect(JSON.stringify(JSON.parse(plan))).toContain('town_price')
  })

  test('a reader of the output that goes away ends it quietly', async () => {
    const database = await filled(5000)
    const child = start(['find', database, 'sales'])
    child.stdout?.once('data', () => child.stdout?.destroy())
    const { code, stderr } = await ended(child)
    expect([code, stderr]).toEqual([0, ''])
    expect(await done(['count', database, 'sales'])).toBe('5000\n')
  })

  test('a database or collection that is not there is not made by looking', async () => {
    const database = await filled(1)
    for (const args of [
      ['find', `${database}2`, 'sales'],
      ['count', `${database}2`, 'sales'],
      ['count', database, 'sails'],
      ['find', database, 'sails'],
    ]) {
      const { code, stderr } = await hypha(args)
      expect([code, stderr], args.join(' ')).toEqual([1, expect.stringMatching(/^HYPHA_NOT_FOUND: /)])
    }
    expect(existsSync(`${database}2`)).toBe(false)
  })

  test('wrong usage is told from failure', async () => {
    const database = await filled(1)
    for (const args of [['{bad'], ['[]'], ['--sort', 'price:2'], ['--limit', '-1'], ['--fields', ''], ['--nonsense']]) {
      expect((await hypha(['find', database, 'sales', ...args])).code, args.join(' ')).toBe(2)
    }
    const { code, stderr } = await hypha(['find', database, 'sales', '{"price":{"$nonsense":1}}'])
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^HYPHA_INVALID: /)])
  })
})
