/**
 * Interleavings that are forced, not hoped for: two transactions of one thread that wait for each other's reads before
 * they write. What snapshot isolation lets through must get through, and what serializable forbids never.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { armFault, disarmFaults } from 'hyphadb/internal/base/fault-points.js'
import type { Isolation, KeyRange, Table, Transaction } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const bytes = (text: string): Buffer => Buffer.from(text)

let directory = ''
let engine: HyphaEngine
let table: Table

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hyphadb-isolation-'))
  engine = await openEngine(directory, { pageSize: 4096, frames: 64, housekeeping: 'none', durability: 'none' })
  table = engine.openTable('rows')
})

afterEach(async () => {
  await engine.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Runs both: on their first attempt neither writes before both have read. Returns how often each callback ran. */
async function interleaved(
  isolation: Isolation,
  first: { read: (tx: Transaction) => unknown; write: (tx: Transaction, seen: unknown) => void },
  second: typeof first,
): Promise<[number, number]> {
  let readers = 0
  let open: () => void = () => {}
  const bothHaveRead = new Promise<void>(resolve => {
    open = resolve
  })
  const attempts: [number, number] = [0, 0]
  const run = (one: typeof first, index: 0 | 1): Promise<void> =>
    engine.transact(
      async tx => {
        attempts[index]++
        const seen = one.read(tx)
        if (++readers === 2) open()
        await bothHaveRead
        one.write(tx, seen)
      },
      { isolation },
    )
  await Promise.all([run(first, 0), run(second, 1)])
  return attempts
}

const isOn = (tx: Transaction, name: string): boolean => tx.get(table, bytes(name))?.toString() === 'on'

describe('write skew', () => {
  /** Each goes off duty if the other is on. */
  async function bothGoOffDuty(isolation: Isolation): Promise<{ onDuty: number; attempts: [number, number] }> {
    await engine.put(table, bytes('alice'), bytes('on'))
    await engine.put(table, bytes('bob'), bytes('on'))
    const leave = (
      me: string,
      other: string,
    ): { read: (tx: Transaction) => unknown; write: (tx: Transaction, seen: unknown) => void } => ({
      read: tx => isOn(tx, other),
      write: (tx, otherIsOn) => {
        if (otherIsOn === true) tx.put(table, bytes(me), bytes('off'))
      },
    })
    const attempts = await interleaved(isolation, leave('alice', 'bob'), leave('bob', 'alice'))
    const onDuty = ['alice', 'bob'].filter(name => engine.latest.get(table, bytes(name))?.toString() === 'on').length
    return { onDuty, attempts }
  }

  it('happens at snapshot isolation', async () => {
    expect(await bothGoOffDuty('snapshot')).toEqual({ onDuty: 0, attempts: [1, 1] })
  })

  it('never happens at serializable', async () => {
    const { onDuty, attempts } = await bothGoOffDuty('serializable')
    expect(onDuty).toBe(1)
    expect(attempts[0] + attempts[1]).toBe(3)
  })
})

describe('two writers of one row', () => {
  for (const isolation of ['snapshot', 'serializable'] as const) {
    it(`lose no update at ${isolation}`, async () => {
      await engine.put(table, bytes('n'), bytes('0'))
      const increment = {
        read: (tx: Transaction): unknown => Number(tx.get(table, bytes('n'))?.toString()),
        write: (tx: Transaction, seen: unknown): void => tx.put(table, bytes('n'), bytes(String((seen as number) + 1))),
      }
      const attempts = await interleaved(isolation, increment, increment)
      expect(engine.latest.get(table, bytes('n'))?.toString()).toBe('2')
      expect(attempts[0] + attempts[1]).toBe(3)
    })

    it(`without having read it, the second runs again at ${isolation}`, async () => {
      const blind = (value: string) => ({
        read: (): unknown => undefined,
        write: (tx: Transaction): void => tx.put(table, bytes('n'), bytes(value)),
      })
      const attempts = await interleaved(isolation, blind('a'), blind('b'))
      expect(attempts[0] + attempts[1]).toBe(3)
    })
  }
})

describe('phantoms', () => {
  const ways: [name: string, countRows: (tx: Transaction) => number][] = [
    ['a count', tx => tx.count(table, { gte: bytes('k'), lt: bytes('l') })],
    ['a range', tx => rowsOf(tx, { gte: bytes('k'), lt: bytes('l') })],
    ['a range backwards', tx => rowsOf(tx, { gte: bytes('k'), lt: bytes('l'), reverse: true })],
    ['a range with a limit', tx => rowsOf(tx, { gt: bytes('k'), lte: bytes('k~'), limit: 1 })],
    [
      'a range under own writes',
      tx => (
        tx.put(table, bytes('k-none'), bytes('')),
        tx.delete(table, bytes('k-none')),
        rowsOf(tx, { gte: bytes('k'), lt: bytes('l') })
      ),
    ],
    ['the absence of rows', tx => ['k1', 'k2'].filter(key => tx.get(table, bytes(key)) !== undefined).length],
    ['an empty find', tx => ['k1', 'k2'].filter(key => tx.find(table, bytes(key))).length],
  ]

  function rowsOf(tx: Transaction, range: KeyRange): number {
    const cursor = tx.range(table, range)
    let rows = 0
    while (cursor.next()) rows++
    cursor.close()
    return rows
  }

  for (const [name, countRows] of ways) {
    const insertIfNone = (key: string) => ({
      read: countRows,
      write: (tx: Transaction, seen: unknown): void => {
        if (seen === 0) tx.put(table, bytes(key), bytes('x'))
      },
    })

    it(`after ${name} happen at snapshot isolation, never at serializable`, async () => {
      await engine.put(table, bytes('a'), bytes('x'))
      await engine.put(table, bytes('z'), bytes('x'))
      await interleaved('snapshot', insertIfNone('k1'), insertIfNone('k2'))
      expect(engine.latest.count(table, { gte: bytes('k'), lt: bytes('l') })).toBe(2)
      await engine.delete(table, bytes('k1'))
      await engine.delete(table, bytes('k2'))
      const attempts = await interleaved('serializable', insertIfNone('k1'), insertIfNone('k2'))
      expect(engine.latest.count(table, { gte: bytes('k'), lt: bytes('l') })).toBe(1)
      expect(attempts[0] + attempts[1]).toBe(3)
    })

    it(`after ${name} are noticed with many rows between and in both directions of splits`, async () => {
      await engine.transact(tx => {
        for (let i = 0; i < 500; i++) tx.put(table, bytes(`a${i}`), Buffer.alloc(50))
        for (let i = 0; i < 500; i++) tx.put(table, bytes(`m${i}`), Buffer.alloc(50))
      })
      const spoil = {
        read: countRows,
        write: (tx: Transaction, seen: unknown): void => {
          for (let i = 0; i < 300; i++) tx.put(table, bytes(`b${i}`), Buffer.alloc(50))
          if (seen === 0) tx.put(table, bytes('k1'), bytes('x'))
        },
      }
      await interleaved('serializable', spoil, insertIfNone('k2'))
      expect(engine.latest.count(table, { gte: bytes('k'), lt: bytes('l') })).toBe(1)
    })
  }

  it('beyond the point where a range was left do not disturb', async () => {
    for (let i = 0; i < 10; i++) await engine.put(table, bytes(`k${i}`), bytes('x'))
    const readTwo = (reverse: boolean, key: string) => ({
      read: (tx: Transaction): unknown => {
        const cursor = tx.range(table, { gte: bytes('k'), lt: bytes('l'), reverse })
        cursor.next()
        cursor.next()
        cursor.close()
        return undefined
      },
      write: (tx: Transaction): void => tx.put(table, bytes(key), bytes('y')),
    })
    expect(await interleaved('serializable', readTwo(false, 'k5a'), readTwo(true, 'k5b'))).toEqual([1, 1])
    const attempts = await interleaved('serializable', readTwo(true, 'k0a'), readTwo(false, 'k5a'))
    expect(attempts[0] + attempts[1]).toBe(3)
  })
})

describe('a transaction that only reads', () => {
  it('sees one state, and never runs again', async () => {
    await engine.put(table, bytes('a'), bytes('1'))
    await engine.put(table, bytes('b'), bytes('1'))
    let attempts = 0
    const seen = await engine.transact(async tx => {
      attempts++
      const a = tx.get(table, bytes('a'))?.toString()
      await engine.transact(other => {
        other.put(table, bytes('a'), bytes('2'))
        other.put(table, bytes('b'), bytes('2'))
      })
      return [a, tx.get(table, bytes('b'))?.toString()]
    })
    expect(seen).toEqual(['1', '1'])
    expect(attempts).toBe(1)
  })
})

describe('long read sets', () => {
  afterEach(() => disarmFaults())

  it('are validated against what is committed between the look before the latch and the latch', async () => {
    const other = await openEngine(directory, { housekeeping: 'none', durability: 'none' })
    const keys = Array.from({ length: 60 }, (_, i) => bytes(`r${i}`))
    await engine.transact(tx => {
      for (const key of keys) tx.put(table, key, bytes('0'))
    })
    let attempts = 0
    engine.transactSync(tx => {
      attempts++
      const sum = keys.reduce((total, key) => total + Number(tx.get(table, key)?.toString()), 0)
      // Something else has been committed, so that there is a look before the latch; and a large value is written
      // between the two, which is where the fault point stands.
      other.transactSync(it => it.put(other.openTable('rows'), bytes('elsewhere'), bytes('x')))
      if (attempts === 1) {
        armFault('overflow.filled', 1, () => {
          other.transactSync(it => it.put(other.openTable('rows'), bytes('r7'), bytes('5')))
        })
      }
      tx.put(table, bytes('sum'), Buffer.concat([bytes(`${sum} `), Buffer.alloc(3000)]))
    })
    expect(attempts).toBe(2)
    expect(engine.latest.get(table, bytes('sum'))?.toString('latin1', 0, 2)).toBe('5 ')
    await other.close()
  })

  it('are validated against what was committed before and after the first look', async () => {
    await engine.transact(tx => {
      for (let i = 0; i < 100; i++) tx.put(table, bytes(`r${i}`), bytes('0'))
    })
    const readAll = (tx: Transaction): number => {
      let sum = 0
      for (let i = 0; i < 100; i++) sum += Number(tx.get(table, bytes(`r${i}`))?.toString())
      return sum
    }
    const one = {
      read: readAll,
      write: (tx: Transaction, sum: unknown): void => tx.put(table, bytes('r7'), bytes(String((sum as number) + 1))),
    }
    const other = {
      read: readAll,
      write: (tx: Transaction, sum: unknown): void => tx.put(table, bytes('r93'), bytes(String((sum as number) + 1))),
    }
    const attempts = await interleaved('serializable', one, other)
    expect(attempts[0] + attempts[1]).toBe(3)
    const values = ['r7', 'r93'].map(key => Number(engine.latest.get(table, bytes(key))?.toString())).sort()
    expect(values).toEqual([1, 2])
  })
})
