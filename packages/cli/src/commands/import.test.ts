import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { done, ended, fileIn, hypha, rows, scratch, start } from '../command.test-support.js'
import { figuresOfFile } from '../demo/sales.js'

const REAL_FILE = fileURLToPath(new URL('../../../../../shared/data/price-paid-real.csv', import.meta.url))

describe('hypha import', () => {
  test('stores what a plain count of the file says', async () => {
    const directory = scratch()
    const file = fileIn(directory, 'sales.csv', await done(['sample', 'price-paid', '--rows', '3000', '--seed', '5']))
    const database = join(directory, 'db')
    const output = await done([
      'import',
      database,
      'sales',
      file,
      '--preset',
      'price-paid',
      '--index',
      'town,price',
      '--index',
      'postcode',
      '--json',
    ])
    expect(JSON.parse(output)).toMatchObject({
      records: 3000,
      rejected: 0,
      seconds: expect.any(Number),
      recordsPerSecond: expect.any(Number),
    })
    expect(existsSync(`${file}.rejected`)).toBe(false)
    await expectFigures(file, database)
  })

  test.skipIf(!existsSync(REAL_FILE))(
    `stores the real file, where it is there (${REAL_FILE})`,
    async () => {
      const directory = scratch()
      const database = join(directory, 'db')
      const output = await done([
        'import',
        database,
        'sales',
        REAL_FILE,
        '--preset',
        'price-paid',
        '--index',
        'town,price',
        '--index',
        'postcode',
        '--json',
      ])
      expect(JSON.parse(output)).toMatchObject({ records: 68_661, rejected: 0 })
      await expectFigures(REAL_FILE, database)
    },
    60_000,
  )

  test('a bad row costs that row, says where and why, and no other is lost', async () => {
    const directory = scratch()
    const lines: (string | Buffer)[] = [
      'id,town,price',
      '1,LEEDS,100',
      '2,"LEEDS,200',
      '3,YORK,300',
      '4,YORK',
      Buffer.from([0x35, 0x2c, 0xff, 0x2c, 0x35]),
      '6,"a ""quoted"" town",600',
      '7,YORK,many',
      '1,BATH,101',
      '{"id":9}',
      ',YORK,1000',
      '11,"two',
      'lines",1100',
    ]
    const file = fileIn(
      directory,
      'bad.csv',
      Buffer.concat(lines.map(line => Buffer.concat([Buffer.from(line), Buffer.from('\n')]))),
    )
    const database = join(directory, 'db')
    const output = await done(['import', database, 'sales', file, '--key', 'id', '--types', 'price:number', '--json'])
    expect(JSON.parse(output)).toMatchObject({ records: 5, rejected: 6 })
    const stored = rows(await done(['export', database, 'sales']))
    expect(stored).toHaveLength(4)
    expect(stored).toContainEqual({ id: '1', town: 'BATH', price: 101 })
    expect(stored).toContainEqual({ id: '3', town: 'YORK', price: 300 })
    expect(stored).toContainEqual({ id: '6', town: 'a "quoted" town', price: 600 })
    expect(stored).toContainEqual({ id: '11', town: 'two\nlines', price: 1100 })
    const rejected = rows(readFileSync(`${file}.rejected`, 'utf8'))
    expect(rejected.map(({ line }) => line).sort((a, b) => Number(a) - Number(b))).toEqual([3, 5, 6, 8, 10, 11])
    for (const row of rejected) expect(row).toMatchObject({ reason: expect.any(String), text: expect.any(String) })
  })

  test('of two rows with one key the later one stays, within a transaction and across', async () => {
    const directory = scratch()
    const lines = Array.from({ length: 500 }, (_, index) => JSON.stringify({ id: index % 7, n: index }))
    const database = join(directory, 'db')
    const output = await done(['import', database, 'things', '-', '--json', '--batch', '3'], lines.join('\n'))
    expect(JSON.parse(output)).toMatchObject({ records: 500, rejected: 0 })
    const stored = rows(await done(['export', database, 'things']))
    expect(stored.map(({ n }) => n).sort((a, b) => Number(a) - Number(b))).toEqual([493, 494, 495, 496, 497, 498, 499])
  })

  test('running it again changes nothing', async () => {
    const directory = scratch()
    const file = fileIn(directory, 'sales.csv', await done(['sample', 'price-paid', '--rows', '300']))
    const database = join(directory, 'db')
    for (let round = 0; round < 2; round++)
      await done(['import', database, 'sales', file, '--preset', 'price-paid', '--json'])
    expect(await done(['count', database, 'sales'])).toBe('300\n')
  })

  test('JSON lines that are none, and a document that is refused, cost only themselves', async () => {
    const directory = scratch()
    const input = [
      '{"id":1}',
      'not JSON',
      '[1]',
      '{"id":{"a":1}}',
      '{"id":2,"when":{"$date":"2020-01-01"}}',
      '{"id":',
      '',
    ].join('\n')
    const place = join(directory, 'rows.rejected')
    const output = await done(['import', join(directory, 'db'), 'things', '-', '--json', '--rejected', place], input)
    expect(JSON.parse(output)).toMatchObject({ records: 2, rejected: 4 })
    expect(
      rows(readFileSync(place, 'utf8'))
        .map(({ line }) => line)
        .sort(),
    ).toEqual([2, 3, 4, 6])
  })

  test('a line of 100 MB is rejected in bounded memory, and the rows around it stay', async () => {
    const directory = scratch()
    const child = start(
      [
        'import',
        join(directory, 'db'),
        'things',
        '-',
        '--json',
        '--rejected',
        join(directory, 'rejected'),
        '--memory',
        '32MB',
      ],
      'pipe',
    )
    const result = ended(child)
    const { stdin, pid } = child
    if (stdin === null || pid === undefined) throw new Error('the process did not start')
    let peak = 0
    const watch = setInterval(() => {
      peak = Math.max(peak, ownMemory(pid))
    }, 5)
    stdin.write('{"id":1}\n{"id":2,"text":"')
    const piece = Buffer.alloc(1024 * 1024, 'x')
    for (let sent = 0; sent < 100; sent++)
      if (!stdin.write(piece)) await new Promise(resolve => stdin.once('drain', resolve))
    stdin.end('"}\n{"id":3}\n')
    const { code, stdout } = await result
    clearInterval(watch)
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ records: 2, rejected: 1 })
    // Node itself takes about 50 MB, the line may be kept up to its limit of 16 MiB.
    expect(peak).toBeGreaterThan(0)
    expect(peak / 1e6).toBeLessThan(180)
  }, 30_000)

  test('input without a single good row fails, and says what was wrong with the first', async () => {
    const directory = scratch()
    const file = fileIn(directory, 'picture.csv', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0a, 0xff, 0xfe, 0x0a]))
    const result = await hypha(['import', join(directory, 'db'), 'sales', file, '--preset', 'price-paid'])
    expect(result.code).toBe(1)
    expect(result.stderr).toMatch(/^HYPHA_INVALID: .*line 1: .*UTF-8/m)
  })

  test('a file that is not there, and one that is a directory, fail with a code', async () => {
    const directory = scratch()
    const missing = await hypha(['import', join(directory, 'db'), 'sales', join(directory, 'none.csv')])
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/^HYPHA_NOT_FOUND: .*none\.csv/)])
    const folder = await hypha(['import', join(directory, 'db'), 'sales', directory])
    expect([folder.code, folder.stderr]).toEqual([1, expect.stringMatching(/^HYPHA_INVALID: .*directory/)])
    expect(existsSync(join(directory, 'db'))).toBe(false)
  })

  test('options that contradict each other are wrong usage', async () => {
    for (const args of [
      ['--preset', 'price-paid', '--columns', 'a,b'],
      ['--preset', 'nothing'],
      ['--batch', '0'],
      ['--columns', 'a,a'],
      ['--columns', 'a:colour'],
      ['--index', 'a,,b'],
    ]) {
      expect((await hypha(['import', '/nowhere/db', 'c', 'file.csv', ...args])).code, args.join(' ')).toBe(2)
    }
  })

  test('rejected rows go to stderr when their file cannot be written', async () => {
    const directory = scratch()
    const args = ['import', join(directory, 'db'), 'c', '-', '--rejected', join(directory, 'none', 'rejected')]
    const { code, stderr } = await hypha(args, '{"id":1}\nbad\n')
    expect(code).toBe(0)
    expect(stderr).toContain('{"line":2,')
  })

  test('Ctrl-C ends it in good order: exit code 130, and what was committed stays', async () => {
    const directory = scratch()
    const child = start(['import', join(directory, 'db'), 'things', '-'], 'pipe')
    const result = ended(child)
    const { stdin } = child
    if (stdin === null) throw new Error('the process did not start')
    stdin.on('error', () => undefined)
    const lines = Array.from({ length: 2000 }, (_, id) => `{"id":${id}}\n`).join('')
    stdin.write(lines)
    const feed = setInterval(() => stdin.write('{"id":0}\n'), 20)
    await new Promise(resolve => setTimeout(resolve, 1500))
    child.kill('SIGINT')
    const { code, stdout } = await result
    clearInterval(feed)
    expect(code).toBe(130)
    expect(stdout).toContain('records in')
    expect(Number(await done(['count', join(directory, 'db'), 'things']))).toBe(2000)
  }, 20_000)
})

async function expectFigures(file: string, database: string): Promise<void> {
  const expected = await figuresOfFile(file)
  const stored = rows(await done(['export', database, 'sales']))
  const count = (key: (row: Record<string, unknown>) => string): Map<string, number> => {
    const counts = new Map<string, number>()
    for (const row of stored) counts.set(key(row), (counts.get(key(row)) ?? 0) + 1)
    return counts
  }
  expect(stored.length).toBe(expected.records)
  expect(stored.reduce((sum, row) => sum + Number(row['price']), 0)).toBe(expected.sumOfPrices)
  expect(count(row => String(row['town']))).toEqual(expected.byTown)
  expect(count(row => String(row['date']).slice(0, 4))).toEqual(expected.byYear)
  const [town, records] = [...expected.byTown].sort((a, b) => b[1] - a[1])[0] ?? ['', 0]
  expect(Number(await done(['count', database, 'sales', JSON.stringify({ town })]))).toBe(records)
}

/** Bytes of a process that are its own: the shared region does not count. */
function ownMemory(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
