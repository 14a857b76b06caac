/**
 * A small database with everything in it that can be damaged: two tables of several levels, large values, a log behind the
 * last checkpoint. Tests damage copies of it. A copy is what a machine finds after everything died: the files, and no
 * region that fits.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HyphaError } from 'hyphadb/internal/base/errors.js'
import { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'

export const PAGE_BYTES = 4096
export const ROWS = 600
export const LARGE_ROWS = 6

export class Places {
  readonly root = mkdtempSync(join(tmpdir(), 'hyphadb-damage-'))
  #count = 0

  /** A directory that exists and is empty. */
  fresh(): string {
    const path = join(this.root, String(this.#count++))
    mkdirSync(path)
    return path
  }

  copyOf(directory: string): string {
    const path = join(this.root, String(this.#count++))
    cpSync(directory, path, { recursive: true })
    return path
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

export function openSmall(directory: string, options: InternalOptions = {}): Promise<HyphaEngine> {
  return openEngine(directory, {
    pageSize: PAGE_BYTES,
    frames: 64,
    segmentBytes: 65_536,
    logRingBytes: 32_768,
    versionRingBytes: 65_536,
    housekeeping: 'none',
    ...options,
  })
}

export const keyOf = (n: number): Buffer => Buffer.from(`key${String(n).padStart(6, '0')}`)

export function valueOf(n: number, length = 60): Buffer {
  return new SeededRandom(n + 1).bytes(length)
}

/** Fills a new database: tables 'first', 'second' and 'large'. */
export async function fill(engine: HyphaEngine): Promise<void> {
  for (const name of ['first', 'second']) {
    const table = engine.openTable(name)
    for (let n = 0; n < ROWS; n++) void engine.put(table, keyOf(n), valueOf(n))
  }
  const large = engine.openTable('large')
  for (let n = 0; n < LARGE_ROWS; n++) void engine.put(large, keyOf(n), valueOf(n, 20_000))
  await engine.flushed()
}

/** Commits behind the checkpoint, each on disk before the next: the log knows that each was durable. */
export async function addToLog(engine: HyphaEngine, commits: number): Promise<void> {
  const table = engine.openTable('logged')
  for (let n = 0; n < commits; n++) await engine.put(table, keyOf(n), valueOf(n))
}

/** Rows of a table as they should be, with what is wrong; unreadable ones are counted by their error's code. */
export interface Reading {
  right: number
  wrong: string[]
  errors: HyphaError[]
}

export function readRows(engine: HyphaEngine, name: string, rows: number, length?: number): Reading {
  const reading: Reading = { right: 0, wrong: [], errors: [] }
  const table = engine.lookupTable(name)
  if (table === undefined) return { ...reading, wrong: [`there is no table ${name}`] }
  for (let n = 0; n < rows; n++) {
    try {
      const value = engine.latest.get(table, keyOf(n))
      if (value?.equals(valueOf(n, length)) === true) reading.right++
      else reading.wrong.push(`${name} ${n}: ${value === undefined ? 'absent' : 'another value'}`)
    } catch (error) {
      if (!(error instanceof HyphaError)) throw error
      reading.errors.push(error)
    }
  }
  return reading
}

export function flip(path: string, offset: number, mask = 0x10): void {
  const bytes = readFileSync(path)
  bytes[offset] = (bytes[offset] as number) ^ mask
  writeFileSync(path, bytes)
}

/** The error that opening ends with. Fails when it does not fail. */
export async function openingError(directory: string, options: InternalOptions = {}): Promise<HyphaError> {
  let engine: HyphaEngine
  try {
    engine = await openSmall(directory, options)
  } catch (error) {
    if (error instanceof HyphaError) return error
    throw error
  }
  await engine.close()
  throw new Error(`${directory} could be opened`)
}

/** Every block of the data file that holds a page, by kind. */
export function blocksOf(
  directory: string,
): { offset: number; kind: number; page: number; table: number; level: number }[] {
  const bytes = readFileSync(join(directory, 'data'))
  const blocks = []
  for (let offset = 4 * 4096; offset + PAGE_BYTES <= bytes.length; offset += PAGE_BYTES) {
    const kind = bytes.readUInt8(offset + 8)
    if (kind === 0) continue
    const [page, table, level] = [
      bytes.readInt32LE(offset + 4),
      bytes.readInt32LE(offset + 12),
      bytes.readUInt8(offset + 9),
    ]
    blocks.push({ offset, kind, page, table, level })
  }
  return blocks
}
