/**
 * What the database should hold after each commit: tables of keys and values, and the list of commits in their order, so
 * that a recovered database can be compared with the state after any prefix of them.
 */
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'

/** One change to the model. `value` undefined: a deletion. */
export type Effect =
  | { kind: 'create'; table: string }
  | { kind: 'drop'; table: string }
  | { kind: 'row'; table: string; key: string; value: Buffer | undefined }

type Rows = Map<string, Buffer>

export class ModelState {
  readonly tables = new Map<string, Rows>()

  apply(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'create') {
        if (!this.tables.has(effect.table)) this.tables.set(effect.table, new Map())
      } else if (effect.kind === 'drop') this.tables.delete(effect.table)
      else if (effect.value === undefined) this.tables.get(effect.table)?.delete(effect.key)
      else this.tables.get(effect.table)?.set(effect.key, effect.value)
    }
  }

  copy(): ModelState {
    const copy = new ModelState()
    for (const [name, rows] of this.tables) copy.tables.set(name, new Map(rows))
    return copy
  }
}

/** The commits of a database, by sequence. Those that change nothing a user sees have no effects. */
export class History {
  readonly #first: number
  readonly #base: ModelState
  readonly #effects: Effect[][] = []

  /** `base` is the state after commit `sequence`. */
  constructor(sequence: number, base: ModelState) {
    this.#first = sequence + 1
    this.#base = base
  }

  get last(): number {
    return this.#first + this.#effects.length - 1
  }

  /** Everything up to `sequence` has been committed: `effects` by the first of these commits. */
  committed(sequence: number, effects: Effect[]): void {
    if (sequence > this.last) this.#effects.push(effects)
    while (sequence > this.last) this.#effects.push([])
  }

  stateAt(sequence: number): ModelState {
    if (sequence < this.#first - 1 || sequence > this.last) throw new Error(`no state at ${sequence}`)
    const state = this.#base.copy()
    for (const effects of this.#effects.slice(0, sequence - this.#first + 1)) state.apply(effects)
    return state
  }
}

/** The differences between what the engine reads and the model, in words; empty when there are none. */
export function differences(engine: HyphaEngine, model: ModelState): string[] {
  const found: string[] = []
  const tables = engine.tables()
  const names = tables.map(table => table.name).sort()
  const expected = [...model.tables.keys()].sort()
  if (names.join() !== expected.join()) found.push(`tables ${names.join()} instead of ${expected.join()}`)
  for (const table of tables) {
    const rows = model.tables.get(table.name)
    if (rows === undefined) continue
    let seen = 0
    const cursor = engine.latest.range(table, {})
    while (cursor.next()) {
      const key = cursor.keyBuffer.latin1Slice(0, cursor.keyLength)
      const value = rows.get(key)
      seen++
      if (value === undefined) found.push(`${table.name}/${key} is there and should not be`)
      else if (!value.equals(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd))) {
        found.push(`${table.name}/${key} has another value`)
      }
    }
    cursor.close()
    if (seen !== rows.size) found.push(`${table.name} has ${seen} rows instead of ${rows.size}`)
  }
  return found.slice(0, 10)
}
