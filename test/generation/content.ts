/** What the generation tests keep in the database, and how it is checked. */
import { readFileSync } from 'node:fs'
import type { Reader, Table } from 'hyphadb/internal/engine/api.js'

export const TABLES = { counter: 'counter', rows: 'rows', filler: 'filler' } as const
export const COUNTER = Buffer.from('counter')

export function encodeNumber(n: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(n)
  return bytes
}

export const rowKey = (name: string, n: number): Buffer => Buffer.from(`${name}:${String(n).padStart(8, '0')}`)
export const FILLER = (i: number): Buffer => Buffer.from(`f${String(i).padStart(6, '0')}`)
export const fillerOf = (i: number): Buffer => Buffer.alloc(600, i & 0xff)

export function counterOf(reader: Reader, table: Table): number {
  return reader.get(table, COUNTER)?.readDoubleLE(0) ?? 0
}

/** Faults in words: the counter is the number of rows, each value once, and whatever was acknowledged is there. */
export function checkContent(
  reader: Reader,
  tables: { counter: Table; rows: Table },
  journals: readonly { name: string; path: string }[],
): string[] {
  const faults: string[] = []
  const rows = new Map<string, number>()
  const cursor = reader.range(tables.rows, {})
  while (cursor.next()) {
    rows.set(Buffer.from(cursor.key()).toString(), cursor.buffer.readDoubleLE(cursor.valueStart))
  }
  cursor.close()
  const count = counterOf(reader, tables.counter)
  if (count !== rows.size) faults.push(`the counter stands at ${count} with ${rows.size} rows`)
  const values = new Set(rows.values())
  if (values.size !== rows.size) faults.push(`${rows.size} rows carry ${values.size} values`)
  for (const { name, path } of journals) {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      if (line !== '' && !rows.has(rowKey(name, Number(line)).toString()))
        faults.push(`${name}:${line} was acknowledged and is gone`)
    }
  }
  return faults.slice(0, 10)
}
