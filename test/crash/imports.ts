/**
 * The importer's workload: documents in batches, one transaction each, over a collection with three indexes. Batch b
 * replaces the documents of slots [b * BATCH, (b + 1) * BATCH) modulo SLOTS, so the number of the last batch says what
 * every document must be.
 */
import type { Database, DatabaseSnapshot } from 'hyphadb/internal/documents/database.js'

export const BATCH = 12
const SLOTS = 240
const TOWNS = ['LEEDS', 'YORK', 'BATH', 'ELY', 'WELLS', 'TRURO', 'RIPON']

export interface Sale {
  id: string
  importer: string
  batch: number
  town: string
  price: number
  deed: string
  note?: string
}

/** Opens the collections; builds the indexes when they are new. */
export function openCollections(db: Database): void {
  db.collection('sales', {
    indexes: {
      byTown: { on: ['town', 'price'] },
      byImporter: { on: ['importer'] },
      byDeed: { on: ['deed'], unique: true },
    },
  })
  db.collection('imports')
}

function saleOf(importer: string, slot: number, batch: number): Sale {
  const mixed = Math.imul(slot + 1, 0x9e3779b1) ^ Math.imul(batch + 1, 0x85ebca6b)
  return {
    id: `${importer}:${slot}`,
    importer,
    batch,
    town: TOWNS[(mixed >>> 8) % TOWNS.length] as string,
    price: (mixed >>> 12) % 1000,
    deed: `${importer}-${slot}`,
    ...((mixed & 63) === 0 ? { note: 'x'.repeat(3000) } : {}),
  }
}

interface Progress {
  id: string
  batch: number
}

export function lastBatch(imports: { get(id: string): Progress | undefined }, importer: string): number {
  return imports.get(importer)?.batch ?? -1
}

export async function importBatch(
  db: Database,
  importer: string,
  batch: number,
  durability: 'commit' | 'none',
): Promise<void> {
  await db.transaction(
    tx => {
      const sales = tx.collection<Sale>('sales')
      for (let i = 0; i < BATCH; i++) sales.put(saleOf(importer, (batch * BATCH + i) % SLOTS, batch))
      tx.collection<Progress>('imports').put({ id: importer, batch })
    },
    { durability },
  )
}

/** The batch that wrote a slot last, -1 when none did. */
function batchOfSlot(slot: number, last: number): number {
  const perRound = SLOTS / BATCH
  const first = Math.floor(slot / BATCH)
  return first > last ? -1 : last - ((last - first) % perRound)
}

/** What is wrong with an importer's documents in this snapshot. */
export function checkImports(
  snapshot: DatabaseSnapshot,
  importer: string,
  acknowledged: number,
  started: number,
): string[] {
  const problems: string[] = []
  const last = lastBatch(snapshot.collection<Progress>('imports'), importer)
  if (last < acknowledged || last > started) {
    problems.push(
      `importer ${importer}: batch ${last} is the last, ${acknowledged} was acknowledged and ${started} begun`,
    )
  }
  const sales = snapshot.collection<Sale>('sales')
  let expected = 0
  const towns = new Map<string, number>()
  for (let slot = 0; slot < SLOTS; slot++) {
    const batch = batchOfSlot(slot, last)
    const found = sales.get(`${importer}:${slot}`)
    if (batch < 0) {
      if (found !== undefined) problems.push(`importer ${importer}: slot ${slot} is there, and no batch wrote it`)
      continue
    }
    expected++
    const sale = saleOf(importer, slot, batch)
    towns.set(sale.town, (towns.get(sale.town) ?? 0) + 1)
    if (JSON.stringify(found) !== JSON.stringify(sale)) {
      problems.push(
        `importer ${importer}: slot ${slot} is ${JSON.stringify(found)?.slice(0, 120)}, should be of batch ${batch}`,
      )
    }
    const [byDeed] = [...sales.find({ deed: `${importer}-${slot}` })]
    if (byDeed?.id !== sale.id) problems.push(`importer ${importer}: the deed of slot ${slot} leads to ${byDeed?.id}`)
  }
  const ofImporter = [...sales.find({ importer })]
  if (ofImporter.length !== expected) {
    problems.push(`importer ${importer}: ${ofImporter.length} documents by index, should be ${expected}`)
  }
  for (const [town, count] of towns) {
    const found = [...sales.find({ town })].filter(sale => sale.importer === importer).length
    if (found !== count) problems.push(`importer ${importer}: ${found} sales in ${town} by index, should be ${count}`)
  }
  return problems
}
