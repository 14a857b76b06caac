/** The imported collection of the demonstration, and the plain count that it is compared with. */

import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { CollectionReader } from '../database.js'
import { numberOf } from './ledger.js'

export const SALES = 'sales'
export const SALES_KEY = 'id'
export const SALES_INDEXES = { town_price: { on: ['town', 'price'] }, postcode: { on: ['postcode'] } }

export interface Figures {
  records: number
  sumOfPrices: number
  readonly byTown: Map<string, number>
  readonly byYear: Map<string, number>
}

function noFigures(): Figures {
  return { records: 0, sumOfPrices: 0, byTown: new Map(), byYear: new Map() }
}

function add(figures: Figures, price: number, town: string, year: string): void {
  figures.records++
  figures.sumOfPrices += price
  figures.byTown.set(town, (figures.byTown.get(town) ?? 0) + 1)
  figures.byYear.set(year, (figures.byYear.get(year) ?? 0) + 1)
}

/** Counts the lines of the file with nothing of the import's own reading: split at the quotes, add up. */
export async function figuresOfFile(path: string): Promise<Figures> {
  const figures = noFigures()
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
    const fields = line.slice(1, -1).split('","')
    add(figures, Number(fields[1]), fields[11] ?? '', (fields[2] ?? '').slice(0, 4))
  }
  return figures
}

export function figuresOfCollection(sales: CollectionReader): Figures {
  const figures = noFigures()
  for (const sale of sales.find()) {
    const { date, town } = sale
    add(figures, numberOf(sale, 'price'), String(town), date instanceof Date ? String(date.getUTCFullYear()) : '')
  }
  return figures
}

/** How the second differs from the first, in words; nothing if they agree. */
export function differences(expected: ReadonlyMap<string, number>, found: ReadonlyMap<string, number>): string[] {
  const names = new Set([...expected.keys(), ...found.keys()])
  return [...names]
    .filter(name => expected.get(name) !== found.get(name))
    .map(name => `${name}: ${found.get(name) ?? 0}, expected ${expected.get(name) ?? 0}`)
}
