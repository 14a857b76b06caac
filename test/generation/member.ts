/**
 * One process of the generation tests: opens the database and does what its parent asks. Every transaction raises one
 * counter and adds one row of its own name and number, so that a lost one and a doubled one both show. What was
 * acknowledged is written to a journal before the next one begins.
 */
import { openSync, writeSync } from 'node:fs'
import { isHyphaError } from 'hyphadb/internal/base/errors.js'
import { armFault, disarmFaults } from 'hyphadb/internal/base/fault-points.js'
import type { Cursor, Snapshot, Table, Transaction } from 'hyphadb/internal/engine/api.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { COUNTER, checkContent, counterOf, encodeNumber, FILLER, fillerOf, rowKey, TABLES } from './content.js'
import type { Ask, MemberConfig, Outcome, Standing } from './protocol.js'

const config = JSON.parse(process.argv[2] as string) as MemberConfig
const journal = openSync(config.journal, 'a')

const engine = await openEngine(config.directory, config.options)
const tables: { counter: Table; rows: Table; filler: Table } = {
  counter: engine.openTable(TABLES.counter),
  rows: engine.openTable(TABLES.rows),
  filler: engine.openTable(TABLES.filler),
}
let number = 0
let working: Promise<void> | undefined
let stopping = false
let runs = 0
const errors: string[] = []
let snapshot: { held: Snapshot; count: number } | undefined
let cursor: Cursor | undefined
let lastFiller = -1
let open: { release: () => void; done: Promise<Outcome>; calls: number } | undefined

function raise(tx: Transaction, n: number): void {
  runs++
  const count = counterOf(tx, tables.counter) + 1
  tx.put(tables.counter, COUNTER, encodeNumber(count))
  tx.put(tables.rows, rowKey(config.name, n), encodeNumber(count))
}

/** One transaction; returns when it is acknowledged and journalled. */
async function once(durability: 'commit' | 'none'): Promise<void> {
  const n = number++
  await engine.transact(tx => raise(tx, n), { durability, retries: 10_000 })
  writeSync(journal, `${n}\n`)
}

async function work(): Promise<void> {
  for (let i = 0; !stopping; i++) {
    try {
      await once(i % 4 === 0 ? 'commit' : 'none')
      if (i % 3 === 0) await engine.put(tables.filler, FILLER(i % 400), fillerOf(i), { durability: 'none' })
      if (i % 5 === 0) engine.latest.get(tables.counter, COUNTER)
    } catch (error) {
      if (!config.tolerated.some(code => isHyphaError(error, code as 'HYPHA_BUSY'))) {
        errors.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
        if (errors.length > 3) return
      }
    }
    await new Promise(resolve => setImmediate(resolve))
  }
}

async function tried(what: () => unknown): Promise<Outcome> {
  const started = performance.now()
  const outcome = (code: string, message: string): Outcome => ({
    code,
    message,
    milliseconds: performance.now() - started,
  })
  try {
    await what()
    return outcome('', '')
  } catch (error) {
    if (isHyphaError(error)) return outcome(error.code, error.message)
    return outcome('other', error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
}

/** A transaction that waits in its middle until it is told to go on. */
function hold(): void {
  const n = number++
  let release!: () => void
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  const held = { release, calls: 0, done: Promise.resolve({ code: '', message: '', milliseconds: 0 }) }
  held.done = tried(async () => {
    await engine.transact(async tx => {
      held.calls++
      counterOf(tx, tables.counter)
      if (held.calls === 1) await gate
      raise(tx, n)
    })
    writeSync(journal, `${n}\n`)
  })
  open = held
}

function stepCursor(rows: number): number {
  cursor ??= engine.latest.range(tables.filler, {})
  let read = 0
  for (; read < rows && cursor.next(); read++) {
    const key = cursor.key()
    const at = Number(Buffer.from(key).toString().slice(1))
    if (at !== lastFiller + 1) throw new Error(`the cursor went from filler ${lastFiller} to ${at}`)
    lastFiller = at
  }
  if (read < rows && lastFiller !== 399) throw new Error(`the cursor ended behind filler ${lastFiller}`)
  return lastFiller
}

function readHeld(): number {
  if (snapshot === undefined) throw new Error('no snapshot is held')
  const count = counterOf(snapshot.held, tables.counter)
  if (count !== snapshot.count) throw new Error(`the snapshot said ${snapshot.count} and says ${count}`)
  const rows = snapshot.held.count(tables.rows, {})
  if (rows !== count) throw new Error(`the snapshot has ${rows} rows at a counter of ${count}`)
  return count
}

async function answer(ask: Ask): Promise<unknown> {
  switch (ask.type) {
    case 'arm':
      for (const { name, count, action } of ask.faults) armFault(name, count, action)
      return undefined
    case 'armPlain':
      for (const name of ask.names) {
        armFault(name, 1, () => {
          throw new Error(`broken at ${name}`)
        })
      }
      return undefined
    case 'disarm':
      return disarmFaults()
    case 'begin':
      stopping = false
      working = work()
      return undefined
    case 'pause':
      stopping = true
      await working
      return [...errors]
    case 'once':
      return tried(() => once(ask.durability))
    case 'fill':
      for (let i = 0; i < 400; i++) await engine.put(tables.filler, FILLER(i), fillerOf(i), { durability: 'none' })
      await engine.flushed()
      return undefined
    case 'renew':
      return tried(() => engine.renewRegion())
    case 'take':
      snapshot = { held: engine.snapshot(), count: 0 }
      snapshot.count = counterOf(snapshot.held, tables.counter)
      return snapshot.count
    case 'held':
      return tried(readHeld)
    case 'letGo':
      return tried(() => snapshot?.held.close())
    case 'cursor':
      return tried(() => stepCursor(ask.rows))
    case 'endCursor':
      return tried(() => cursor?.close())
    case 'holdTransaction':
      return hold()
    case 'releaseTransaction': {
      if (open === undefined) throw new Error('no transaction is open')
      open.release()
      return { ...(await open.done), calls: open.calls }
    }
    case 'checkpoint':
      return tried(() => engine.checkpoint())
    case 'verify':
      return (await engine.verify()).faults
    case 'content':
      return checkContent(engine.latest, tables, ask.journals)
    case 'standing':
      return standing(engine)
    case 'close':
      snapshot?.held.close()
      await engine.close()
      return undefined
  }
}

function standing({ core }: HyphaEngine): Standing {
  return {
    generation: core.region.generation,
    slot: core.participants.slot,
    state: core.region.state,
    name: core.region.name,
    frames: core.region.geometry.framesMax,
    runs,
  }
}

process.on('message', (message: { id: number; ask: Ask }) => {
  answer(message.ask).then(
    value => process.send?.({ id: message.id, value }),
    (error: unknown) =>
      process.send?.({
        id: message.id,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
  )
})
process.on('disconnect', () => process.exit(1))
process.send?.({ id: 0 })
