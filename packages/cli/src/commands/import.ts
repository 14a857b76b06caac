/** `hypha import`: the plan out of the options, the run, and what is said at its end. */
import { basename } from 'node:path'
import { fieldsFrom } from '../arguments.js'
import type { CollectionOptions } from '../database.js'
import { CodedFailure, UsageFailure } from '../failure.js'
import { type ImportPlan, type ImportResult, type InputFormat, runImport } from '../import/importer.js'
import { openInput } from '../import/input-file.js'
import { RejectedRows } from '../import/rejected-rows.js'
import { parseColumns } from '../input/columns.js'
import { PRICE_PAID_KEY } from '../input/price-paid.js'
import { withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import type { ImportCommandOptions } from '../program.js'
import { grouped, Progress } from '../progress.js'

export async function importCommand(
  directory: string,
  collection: string,
  file: string,
  options: ImportCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const { definition, ...settings } = settingsFrom(file, options)
  const input = await openInput(file)
  const rejected = new RejectedRows(options.rejected ?? (file === '-' ? 'stdin.rejected' : `${file}.rejected`))
  const progress = new Progress(`import ${basename(file)}`, options.json === true ? 'silent' : 'auto')
  let result: ImportResult
  try {
    result = await withDatabase(directory, memoryFrom(options), async database => {
      const target = database.collection(collection, definition)
      const stored = await runImport({
        ...settings,
        ...input,
        database,
        collection,
        batch: options.batch,
        lineLimitBytes: options.lineLimit,
        rejected,
        onProgress: state => progress.update(state),
        signal,
      })
      // An index that is new on a large collection is built in the background.
      await target.ready()
      return stored
    })
  } finally {
    progress.end()
    rejected.close()
  }
  await report(result, rejected, options)
  signal.throwIfAborted()
  if (result.records === 0 && rejected.first !== undefined) {
    const { line, reason } = rejected.first
    throw new CodedFailure('HYPHA_INVALID', `no record of ${file} could be stored; line ${line}: ${reason}`)
  }
}

function memoryFrom(options: ImportCommandOptions): { memory?: string } {
  return options.memory === undefined ? {} : { memory: options.memory }
}

type Settings = Pick<ImportPlan, 'preset' | 'format' | 'columns' | 'types' | 'key'> & { definition: CollectionOptions }

function settingsFrom(file: string, options: ImportCommandOptions): Settings {
  const { preset } = options
  if (preset !== undefined && (options.columns !== undefined || options.types !== undefined)) {
    throw new UsageFailure(`--preset ${preset} names the columns itself: leave out --columns and --types`)
  }
  if (options.columns !== undefined && options.types !== undefined) {
    throw new UsageFailure('--types is for files with a header line: with --columns, write --columns id,price:number')
  }
  const format = preset === undefined ? (options.format ?? formatOf(file)) : 'csv'
  if (preset !== undefined && options.format === 'jsonl') throw new UsageFailure(`--preset ${preset} is CSV`)
  if (format === 'jsonl' && (options.columns ?? options.types) !== undefined) {
    throw new UsageFailure('--columns and --types are for CSV; JSON names its fields itself')
  }
  const key = options.key ?? (preset === undefined ? undefined : PRICE_PAID_KEY)
  return {
    preset,
    format,
    columns: options.columns === undefined ? undefined : parseColumns(options.columns),
    types: options.types === undefined ? [] : parseColumns(options.types),
    key,
    definition: collectionOptions(key, options),
  }
}

function formatOf(file: string): InputFormat | undefined {
  if (/\.csv$/i.test(file)) return 'csv'
  return /\.(jsonl|ndjson|json)$/i.test(file) ? 'jsonl' : undefined
}

function collectionOptions(key: string | undefined, options: ImportCommandOptions): CollectionOptions {
  const result: CollectionOptions = {}
  if (key !== undefined) result.key = key
  if (options.index !== undefined) result.indexes = indexesFrom(options.index)
  return result
}

/** An index is named after its fields: `town,price` makes `town_price`. */
function indexesFrom(lists: readonly string[]): Record<string, { on: string[] }> {
  return Object.fromEntries(
    lists.map(list => {
      const on = fieldsFrom('--index', list)
      return [on.join('_'), { on }]
    }),
  )
}

async function report(result: ImportResult, rejected: RejectedRows, options: ImportCommandOptions): Promise<void> {
  const output = new Output(process.stdout)
  if (options.json === true) {
    await output.line(JSON.stringify(result))
  } else {
    const seconds = result.seconds.toFixed(result.seconds < 10 ? 2 : 1)
    await output.line(
      `${grouped(result.records)} records in ${seconds} s, ${grouped(result.recordsPerSecond)} a second`,
    )
    if (result.rejected > 0)
      await output.line(`${grouped(result.rejected)} rows rejected, listed with reasons in ${rejected.place}`)
  }
  await output.flush()
}
