import { describe, expect, test } from 'vitest'
import { documentBuilder, FieldProblem, parseColumns } from './columns.js'
import { PRICE_PAID_COLUMNS, pricePaidDocument } from './price-paid.js'

describe('columns', () => {
  test('become the fields of a document, each with its type; empty ones are left out', () => {
    const build = documentBuilder(
      parseColumns('id,price:number,big:bigint,new:boolean,date:date,extra:json,none:number'),
    )
    expect(build(['a', '1.5', '9007199254740993', 'Y', '2020-02-29', '{"x":[1]}', ''])).toEqual({
      id: 'a',
      price: 1.5,
      big: 9007199254740993n,
      new: true,
      date: new Date('2020-02-29T00:00:00Z'),
      extra: { x: [1] },
    })
  })

  test.each([
    ['number', 'many'],
    ['number', ' '],
    ['number', 'Infinity'],
    ['bigint', '1.5'],
    ['boolean', 'maybe'],
    ['date', '2021-02-29'],
    ['date', '29/02/2020'],
    ['date', '2020-13-01'],
    ['date', '2020-01-01T25:00'],
    ['json', '{'],
  ])('a %s does not take %j', (type, text) => {
    expect(() => documentBuilder(parseColumns(`c:${type}`))([text])).toThrow(FieldProblem)
  })

  test.each([
    ['2020-02-29', '2020-02-29T00:00:00.000Z'],
    ['2020-02-29 13:45', '2020-02-29T13:45:00.000Z'],
    ['2020-02-29T13:45:10.5Z', '2020-02-29T13:45:10.500Z'],
    ['2020-02-29T00:30:00+01:00', '2020-02-28T23:30:00.000Z'],
    ['2020-02-29T00:30:00-0130', '2020-02-29T02:00:00.000Z'],
    ['0099-12-31', '0099-12-31T00:00:00.000Z'],
  ])('%s is %s', (text, iso) => {
    expect(documentBuilder(parseColumns('c:date'))([text])).toEqual({ c: new Date(iso) })
  })

  test('the price-paid mapping does what its columns say', () => {
    const general = documentBuilder(PRICE_PAID_COLUMNS)
    const names = PRICE_PAID_COLUMNS.map(({ name }) => name)
    for (const date of ['2020-02-29 00:00', '1995-12-31 00:00', '2024-06-15 12:30']) {
      const fields = names.map(name => (name === 'price' ? '42000' : name === 'date' ? date : `the ${name}`))
      expect(pricePaidDocument(fields)).toEqual(general(fields))
      expect(Object.keys(pricePaidDocument(fields))).toEqual(names)
      const empty = fields.map((field, index) => (index > 2 ? '' : field))
      expect(pricePaidDocument(empty)).toEqual(general(empty))
    }
  })

  test.each([
    ['id', ''],
    ['price', ''],
    ['price', '-1'],
    ['price', '1.5'],
    ['price', '1234567890123456'],
    ['date', ''],
    ['date', '2020-02-30 00:00'],
    ['date', '2020-0x-01 00:00'],
  ])('the price-paid mapping refuses a %s of %j', (name, text) => {
    const good = PRICE_PAID_COLUMNS.map(column =>
      column.name === 'price' ? '1' : column.name === 'date' ? '2020-01-01 00:00' : 'x',
    )
    const fields = good.map((field, index) => (PRICE_PAID_COLUMNS[index]?.name === name ? text : field))
    expect(() => pricePaidDocument(fields)).toThrow(FieldProblem)
  })
})
