/**
 * The writer's collection in the demonstration: transfers between accounts. Each transfer is one transaction of three
 * records (two balances and an entry of the journal), so that half of one would show: the sum of all balances would
 * change, or the journal would not explain them.
 */
import type { CollectionReader, Database, Document } from '../database.js'

export const ACCOUNTS = 'accounts'
export const JOURNAL = 'journal'
export const ACCOUNT_COUNT = 100
export const OPENING_BALANCE = 1000
export const TOTAL_BALANCE = ACCOUNT_COUNT * OPENING_BALANCE

export interface Transfer extends Document {
  id: number
  from: number
  to: number
  amount: number
}

export function createLedger(database: Database): void {
  database.collection(ACCOUNTS)
  database.collection(JOURNAL)
  database.transactionSync(tx => {
    const accounts = tx.collection(ACCOUNTS)
    for (let id = 0; id < ACCOUNT_COUNT; id++) accounts.put({ id, balance: OPENING_BALANCE })
  })
}

/** Resolves when the transfer is on disk. */
export async function transfer(database: Database, id: number): Promise<void> {
  const entry: Transfer = {
    id,
    from: (id * 7) % ACCOUNT_COUNT,
    to: (id * 7 + 13) % ACCOUNT_COUNT,
    amount: 1 + (id % 9),
  }
  await database.transaction(tx => {
    const accounts = tx.collection(ACCOUNTS)
    const from = numberOf(accounts.get(entry.from), 'balance')
    const to = numberOf(accounts.get(entry.to), 'balance')
    accounts.put({ id: entry.from, balance: from - entry.amount })
    accounts.put({ id: entry.to, balance: to + entry.amount })
    tx.collection(JOURNAL).put(entry)
  })
}

/** The number of the newest transfer; 0 when there is none. */
export function newestTransfer(journal: CollectionReader): number {
  let newest = 0
  for (const entry of journal.find()) newest = Math.max(newest, numberOf(entry, 'id'))
  return newest
}

export function totalBalance(accounts: CollectionReader): number {
  let total = 0
  for (const account of accounts.find()) total += numberOf(account, 'balance')
  return total
}

/** What in the ledger does not add up; nothing if all is well. `acknowledged`: transfers whose promise had resolved. */
export function ledgerFaults(
  accounts: CollectionReader,
  journal: CollectionReader,
  acknowledged: Iterable<number>,
): string[] {
  const faults: string[] = []
  const expected = new Array<number>(ACCOUNT_COUNT).fill(OPENING_BALANCE)
  const seen = new Set<number>()
  for (const entry of journal.find()) {
    const amount = numberOf(entry, 'amount')
    const from = numberOf(entry, 'from')
    const to = numberOf(entry, 'to')
    expected[from] = (expected[from] ?? 0) - amount
    expected[to] = (expected[to] ?? 0) + amount
    seen.add(numberOf(entry, 'id'))
  }
  for (const id of acknowledged) if (!seen.has(id)) faults.push(`transfer ${id} was acknowledged and is missing`)
  for (const [id, balance] of expected.entries()) {
    const found = numberOf(accounts.get(id), 'balance')
    if (found !== balance) faults.push(`account ${id} has ${found}, its transfers make ${balance}`)
  }
  return faults
}

export function numberOf(document: Document | undefined, field: string): number {
  const value = document?.[field]
  if (typeof value !== 'number') throw new Error(`${field} should be a number, found ${String(value)}`)
  return value
}
