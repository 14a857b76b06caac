/**
 * One process of a crew: opens the database, does its role's work, answers its parent. Started by crew.ts; the last
 * argument is its MemberConfig as JSON.
 */
import { readFileSync } from 'node:fs'
import { HyphaError } from 'hyphadb/internal/base/errors.js'
import { armFault, countFaultPoints, disarmFaults, InjectedFault } from 'hyphadb/internal/base/fault-points.js'
import { openDatabase } from 'hyphadb/internal/documents/database.js'
import type { Snapshot } from 'hyphadb/internal/engine/api.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { checkEverything, fingerprint, type Opened } from './checks.js'
import type {
  EndureResult,
  LatchHolders,
  MemberConfig,
  Numbered,
  Progress,
  ReadResult,
  Reply,
  Request,
  TryWriteResult,
} from './protocol.js'
import { Idler, Importer, isInjected, Reader, Shift, Writer } from './roles.js'
import { Stalls } from './stalls.js'
import { openTables, readState } from './workload.js'

const config = JSON.parse(process.argv[2] as string) as MemberConfig
const ENDURE_MS_MAX = 12_000
const stalls = new Stalls()

const engine = await openEngine(config.directory, config.options)
const db = await openDatabase(() => Promise.resolve(engine))
const opened: Opened = { engine, db, tables: openTables(engine), seed: config.seed, journals: config.journals }
const writer = new Writer(opened, config, stalls)
const shift = new Shift(dutyOf(config.role))
let passed: Map<string, number> | undefined
let held: { snapshot: Snapshot; print: number } | undefined

function dutyOf(role: MemberConfig['role']): Writer | Importer | Reader | Idler {
  if (role === 'writer') return writer
  if (role === 'importer') return new Importer(opened, config, stalls)
  return role === 'reader' ? new Reader(opened, stalls) : new Idler()
}

function progress(reset: boolean): Progress {
  const { operations, longestMs, longest } = stalls
  if (reset) stalls.reset()
  return {
    operations,
    longestMs,
    longest,
    busy: shift.busy,
    errors: [...shift.errors],
    passed: Object.fromEntries(passed ?? []),
  }
}

/** One write, and how it ended. */
async function tryWrite(): Promise<TryWriteResult> {
  const started = performance.now()
  try {
    await writer.write('none')
    return { ok: true, code: '', message: '', milliseconds: performance.now() - started }
  } catch (error) {
    const code = error instanceof HyphaError ? error.code : 'other'
    return { ok: false, code, message: String(error), milliseconds: performance.now() - started }
  }
}

/** Point reads and a few scans, as fast as they go. */
function readFor(milliseconds: number): ReadResult {
  const { tables } = opened
  const errors: string[] = []
  let reads = 0
  let longestMs = 0
  const until = performance.now() + milliseconds
  for (let now = performance.now(); now < until && errors.length < 3; ) {
    try {
      for (let i = 0; i < 20; i++) readState(engine.latest, tables, config.name)
      const cursor = engine.latest.range(tables.rows, { limit: 30 })
      while (cursor.next());
      cursor.close()
    } catch (error) {
      errors.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    const after = performance.now()
    longestMs = Math.max(longestMs, after - now)
    reads += 50
    now = after
  }
  return { reads, longestMs, errors }
}

const overflow = (depth: number): number => overflow(depth + 1) + 1

/** Works until a fault has struck at a point, and a while longer. */
async function endure({
  name,
  count,
  action,
  transactions,
}: Extract<Request, { type: 'endure' }>): Promise<EndureResult> {
  const errors: string[] = []
  let reached = false
  armFault(name, count, () => {
    reached = true
    if (action === 'stack') overflow(0)
    if (action === 'memory') throw new RangeError('Array buffer allocation failed')
    throw new InjectedFault(`fault injected at ${name}`)
  })
  const until = performance.now() + ENDURE_MS_MAX
  for (
    let after = 0;
    after < transactions && performance.now() < until && errors.length < 3;
    after += reached ? 1 : 0
  ) {
    try {
      await writer.step()
    } catch (error) {
      if (!reached || !isInjected(error))
        errors.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  }
  await writer.settled()
  disarmFaults()
  return { reached, errors }
}

function arm({ name, count, action, after }: Extract<Request, { type: 'arm' }>): void {
  if (after === undefined) armFault(name, count, action)
  else armFault(after, count, () => armFault(name, 1, action))
}

function latchHolders(): LatchHolders {
  const { participants, latches } = engine.core
  const pid = (owner: number): number => (owner === 0 ? 0 : participants.pidOf(owner))
  return {
    commit: pid(latches.commit.owner),
    allocator: pid(latches.allocator.owner),
    checkpoint: pid(latches.checkpoint.owner),
    logWrite: pid(latches.logWrite.owner),
    logAllocation: pid(latches.logAllocation.owner),
  }
}

async function answer(request: Request): Promise<unknown> {
  switch (request.type) {
    case 'begin':
      return shift.begin()
    case 'pause':
      return shift.pause()
    case 'arm':
      return arm(request)
    case 'endure':
      return endure(request)
    case 'disarm':
      return disarmFaults()
    case 'count':
      passed = countFaultPoints()
      return undefined
    case 'progress':
      return progress(request.reset === true)
    case 'hold': {
      held?.snapshot.close()
      const snapshot = engine.snapshot()
      held = { snapshot, print: fingerprint(snapshot, opened.tables) }
      return held.print
    }
    case 'held':
      return held === undefined ? undefined : fingerprint(held.snapshot, opened.tables) === held.print
    case 'check':
      return checkEverything(opened, request.subjects)
    case 'verify':
      return (await engine.verify()).faults
    case 'write':
      for (let i = 0; i < request.transactions; i++) await writer.write(request.durability)
      return undefined
    case 'tryWrite':
      return tryWrite()
    case 'read':
      return readFor(request.milliseconds)
    case 'latches':
      return latchHolders()
    case 'renew':
      return engine.renewRegion()
    case 'housekeep':
      return engine.housekeep()
    case 'checkpoint':
      return engine.checkpoint()
    case 'close':
      await shift.pause()
      held?.snapshot.close()
      shift.duty.close()
      await engine.close()
      return undefined
  }
}

function send(reply: Reply): void {
  process.send?.(reply)
}

process.on('message', (request: Numbered) => {
  answer(request).then(
    value => send({ id: request.id, value }),
    (error: unknown) =>
      send({ id: request.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))

if (config.begin === true) shift.begin()
send({
  id: 0,
  value: { bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), recovery: engine.recovery },
})
