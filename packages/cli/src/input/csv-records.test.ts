import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CsvReader, RECORD_LIMIT } from './csv-records.js'

interface Reading {
  records: string[][]
  lines: number[]
  rejected: { line: number; reason: string }[]
}

/** Reads the pieces, which end at line ends, as the import does. */
function read(pieces: readonly string[], columns = 0): Reading {
  const reading: Reading = { records: [], lines: [], rejected: [] }
  const reader = new CsvReader(
    {
      record: (fields, count, line) => {
        reading.records.push(fields.slice(0, count))
        reading.lines.push(line)
      },
      reject: (line, reason) => reading.rejected.push({ line, reason }),
    },
    columns,
  )
  let line = 1
  for (const piece of pieces) {
    reader.push(piece, line)
    line += piece.split('\n').length - 1
  }
  reader.end()
  return reading
}

/** Cuts a text at some of its line ends. */
function cut(text: string, every: number): string[] {
  const lines = text.split(/(?<=\n)/)
  const pieces: string[] = []
  for (let at = 0; at < lines.length; at += every) pieces.push(lines.slice(at, at + every).join(''))
  return pieces
}

describe('CsvReader', () => {
  test('reads quoted and plain fields, doubled quotes, line breaks inside quotes and both line ends', () => {
    const { records, lines, rejected } = read(['a,"b","c ""d"""\r\n"e\nf",,\n\n\r\n,g,"h"'])
    expect(records).toEqual([
      ['a', 'b', 'c "d"'],
      ['e\nf', '', ''],
      ['', 'g', 'h'],
    ])
    expect(lines).toEqual([1, 2, 6])
    expect(rejected).toEqual([])
  })

  test('agrees with csv-parse on whatever is well-formed, wherever the blocks are cut', () => {
    const field = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\n', ' ', '\r\n', '漢'), maxLength: 8 }),
      fc.constantFrom('', 'plain', '"', '""', 'a,b', '\n'),
    )
    const row = fc.array(fc.tuple(field, fc.boolean()), { minLength: 2, maxLength: 5 })
    const written = (value: string, isQuoted: boolean): string =>
      isQuoted || /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
    fc.assert(
      fc.property(
        fc.array(row, { maxLength: 12 }),
        fc.constantFrom('\n', '\r\n'),
        fc.integer({ min: 1, max: 4 }),
        (rows, end, every) => {
          const text = rows
            .map(fields => fields.map(([value, isQuoted]) => written(value, isQuoted)).join(',') + end)
            .join('')
          const expected = parse(text, {
            relax_column_count: true,
            record_delimiter: ['\r\n', '\n'],
            skip_empty_lines: true,
          })
          const { records, rejected } = read(cut(text, every))
          // Rows of plain fields inside one quoted field are the one thing that is read differently, on purpose.
          if (rejected.some(({ reason }) => reason.includes('rows that follow'))) return
          expect(rejected).toEqual([])
          expect(records).toEqual(expected)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('a broken row costs that row and no other', () => {
    const good = (n: number): string => `"id${n}","town ${n}","${n}"`
    const broken = [
      '"x","y',
      '"x","y"z","1"',
      '"x",y","1"',
      'x,"y,1',
      '"x","y"',
      '"x","y","1","2"',
      '"',
      '"x",""y","1"',
      '"x,"y","1"',
    ]
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof({ weight: 2, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom(...broken) }),
          { maxLength: 30 },
        ),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom('\n', '\r\n'),
        (rows, every, end) => {
          const text = rows.map((row, index) => (row === '' ? good(index) : row) + end).join('')
          const { records, lines } = read(cut(text, every), 3)
          const kept = new Map(records.map((record, index) => [lines[index] as number, record]))
          for (const [index, row] of rows.entries()) {
            if (row !== '') continue
            expect(kept.get(index + 1)).toEqual([`id${index}`, `town ${index}`, String(index)])
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  test('a stray quote among plain rows costs its row, also when another one follows far below', () => {
    const rows = Array.from({ length: 100 }, (_, index) => `${index},name ${index},${index * 2}`)
    rows[10] = '10,"name 10,20'
    rows[90] = '90,name 90",180'
    const { records, rejected } = read([`${rows.join('\n')}\n`], 3)
    expect(records.length).toBe(98)
    expect(rejected.map(({ line }) => line)).toEqual([11, 91])
  })

  test('text of several lines in a quoted field stays one field', () => {
    const text = '1,"Dear all,\n\nhello, world\nyours, sincerely",x\n2,b,c\n'
    expect(read(cut(text, 1), 3).records).toEqual([
      ['1', 'Dear all,\n\nhello, world\nyours, sincerely', 'x'],
      ['2', 'b', 'c'],
    ])
  })

  test('a quote that never closes is given up within the limit, and reading goes on at the next line', () => {
    const filler = `${'plain,row,here\n'.repeat(20_000)}`
    const text = `a,"b,c\n${filler.repeat(6)}`
    expect(text.length).toBeGreaterThan(RECORD_LIMIT)
    const { records, rejected } = read(cut(text, 10_000), 3)
    expect(rejected).toEqual([{ line: 1, reason: 'a quoted field is never closed' }])
    expect(records.length).toBe(120_000)
  })

  test('an open quote holds back no more than the limit', () => {
    let records = 0
    const reader = new CsvReader({ record: () => records++, reject: () => undefined }, 3)
    reader.push('a,"b,c\n', 1)
    const piece = 'plain,row,here\n'.repeat(10_000)
    for (let sent = 0; sent < RECORD_LIMIT; sent += piece.length) reader.push(piece, 2)
    expect(records).toBeGreaterThan(10_000)
  })

  test('a record in one line may be longer than the limit for several lines', () => {
    const long = 'x'.repeat(RECORD_LIMIT + 100)
    const { records, rejected } = read([`1,"${long}",${long}\n2,b,c\n`], 3)
    expect(rejected).toEqual([])
    expect(records.map(fields => fields.map(field => field.length))).toEqual([
      [1, long.length, long.length],
      [1, 1, 1],
    ])
  })

  test('a wrong number of columns is named', () => {
    const { rejected } = read(['a,b\na,b,c\na\n'], 3)
    expect(rejected).toEqual([
      { line: 1, reason: '2 columns, expected 3' },
      { line: 3, reason: '1 columns, expected 3' },
    ])
  })
})
