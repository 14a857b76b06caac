import { describe, expect, test } from 'vitest'
import { CsvReader } from '../input/csv-records.js'
import { PRICE_PAID_COLUMNS, pricePaidDocument } from '../input/price-paid.js'
import { samplePricePaid } from './price-paid.js'

const ROWS = 20_000

function documents(seed: number): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = []
  const reader = new CsvReader(
    {
      record: fields => found.push(pricePaidDocument(fields)),
      reject: (line, reason) => expect.unreachable(`line ${line}: ${reason}`),
    },
    PRICE_PAID_COLUMNS.length,
  )
  for (const piece of samplePricePaid(ROWS, seed)) reader.push(piece, 1)
  return found
}

describe('made-up sales', () => {
  test('one seed gives one file, another seed another', () => {
    const text = (seed: number): string => [...samplePricePaid(600, seed)].join('')
    expect(text(1)).toBe(text(1))
    expect(text(1)).not.toBe(text(2))
    expect(text(1).startsWith([...samplePricePaid(300, 1)].join(''))).toBe(true)
  })

  test('have the shape of the real file', () => {
    const sales = documents(7)
    expect(sales.length).toBe(ROWS)
    // Not by chance: the first part alone tells them apart.
    expect(new Set(sales.map(sale => String(sale['id']).slice(1, 9))).size).toBe(ROWS)
    for (const sale of sales) {
      expect(sale['id']).toMatch(/^\{[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}\}$/)
      expect(sale['price']).toBeGreaterThanOrEqual(100)
      const year = (sale['date'] as Date).getUTCFullYear()
      expect(year >= 1995 && year <= 2024).toBe(true)
      expect('DSTFO').toContain(sale['propertyType'])
      if (sale['postcode'] !== undefined) expect(sale['postcode']).toMatch(/^[A-Z]{1,2}\d{1,2} \d[A-Z]{2}$/)
    }
  })

  test('have its skew: London near a tenth, a long tail of towns, few rows without a postcode', () => {
    const sales = documents(3)
    const byTown = countByTown(sales)
    const london = (byTown.get('LONDON') ?? 0) / ROWS
    expect(london).toBeGreaterThan(0.06)
    expect(london).toBeLessThan(0.16)
    expect(byTown.size).toBeGreaterThan(500)
    const without = sales.filter(sale => sale['postcode'] === undefined).length / ROWS
    expect(without).toBeGreaterThan(0.0001)
    expect(without).toBeLessThan(0.002)
  })
})

function countByTown(sales: readonly Record<string, unknown>[]): Map<unknown, number> {
  const counts = new Map<unknown, number>()
  for (const { town } of sales) counts.set(town, (counts.get(town) ?? 0) + 1)
  return counts
}
