/**
 * The import: bytes to lines, lines to records, records to documents, documents to transactions.
 */
import type { Database, Document } from '../database.js'
import { CodedFailure, codeOf, messageOf, UsageFailure } from '../failure.js'
import { type Column, type DocumentBuilder, documentBuilder, FieldProblem, refuseRepeated } from '../input/columns.js'
import { CsvReader } from '../input/csv-records.js'
import { JsonLinesReader } from '../input/json-records.js'
import { readLineBlocks } from '../input/line-blocks.js'
import { PRICE_PAID_COLUMNS, pricePaidDocument } from '../input/price-paid.js'
import type { ProgressState } from '../progress.js'
import { BatchWriter } from './batch-writer.js'
import type { RejectedRows } from './rejected-rows.js'

export type InputFormat = 'csv' | 'jsonl'

export interface ImportPlan {
  readonly database: Database
  readonly collection: string
  readonly chunks: AsyncIterable<Buffer>
  readonly totalBytes: number
  /** Undefined: the first character decides. */
  readonly format: InputFormat | undefined
  readonly preset: 'price-paid' | undefined
  /** Names and types of the columns; undefined: the first record is a header. */
  readonly columns: readonly Column[] | undefined
  /** Types for some of the columns that a header names. */
  readonly types: readonly Column[]
  /** Rows without this field are rejected; undefined: an id is made for them. */
  readonly key: string | undefined
  readonly batch: number
  readonly lineLimitBytes: number
  readonly rejected: RejectedRows
  /** Called after each block of the input. */
  readonly onProgress: (state: ProgressState) => void
  readonly signal: AbortSignal
}

export interface ImportResult {
  readonly records: number
  readonly rejected: number
  readonly seconds: number
  readonly recordsPerSecond: number
}

export async function runImport(plan: ImportPlan): Promise<ImportResult> {
  const started = performance.now()
  const run = new ImportRun(plan)
  try {
    await run.readAll()
  } catch (error) {
    throw run.withPlace(error)
  }
  const seconds = (performance.now() - started) / 1000
  return {
    records: run.writer.records,
    rejected: plan.rejected.count,
    seconds: Number(seconds.toFixed(3)),
    recordsPerSecond: Math.round(run.writer.records / Math.max(seconds, 0.001)),
  }
}

interface BlockReader {
  push(block: string, line: number): void
  end?(): void
}

class ImportRun {
  readonly writer: BatchWriter
  private bytes = 0
  private build: DocumentBuilder | undefined
  private readonly key: string | undefined

  constructor(private readonly plan: ImportPlan) {
    this.key = plan.key
    this.writer = new BatchWriter(plan.database, plan.collection, plan.batch, (line, reason, text) =>
      plan.rejected.add(line, reason, text),
    )
    if (plan.preset === 'price-paid') this.build = pricePaidDocument
    else if (plan.columns !== undefined) this.build = documentBuilder(plan.columns)
  }

  async readAll(): Promise<void> {
    const { plan, writer } = this
    let reader: BlockReader | undefined
    for await (const item of readLineBlocks(this.counted(), plan.lineLimitBytes)) {
      if (item.kind === 'bad') {
        reader?.end?.()
        plan.rejected.add(item.line, item.reason, item.text)
      } else {
        reader ??= this.readerFor(item.text)
        reader.push(item.text, item.line)
      }
      if (writer.isWindowFull) await writer.settle()
      plan.onProgress({
        bytes: this.bytes,
        totalBytes: plan.totalBytes,
        records: writer.records,
        rejected: plan.rejected.count,
      })
      if (plan.signal.aborted) break
    }
    if (!plan.signal.aborted) reader?.end?.()
    await writer.finish()
  }

  /** The same failure, and how far the import had got. */
  withPlace(error: unknown): unknown {
    if (error instanceof UsageFailure) return error
    const { records } = this.writer
    const done = records === 0 ? 'nothing was stored' : `${records} records are stored; run the import again to go on`
    return new CodedFailure(codeOf(error), `${messageOf(error)} (${done})`, { cause: error })
  }

  private async *counted(): AsyncGenerator<Buffer, void, void> {
    for await (const chunk of this.plan.chunks) {
      this.bytes += chunk.length
      yield chunk
    }
  }

  private readerFor(text: string): BlockReader {
    const format = this.plan.format ?? (/^\s*\{/.test(text) ? 'jsonl' : 'csv')
    const { rejected } = this.plan
    if (format === 'jsonl') {
      return new JsonLinesReader({
        document: (document, line) => this.take(document, line, () => JSON.stringify(document)),
        reject: (line, reason, rejectedText) => rejected.add(line, reason, rejectedText),
      })
    }
    const columns = this.plan.preset === 'price-paid' ? PRICE_PAID_COLUMNS : this.plan.columns
    if (columns !== undefined) this.requireKey(columns)
    const reader = new CsvReader(
      {
        record: (fields, count, line) => {
          if (this.build === undefined) reader.columns = this.takeHeader(fields, count, line)
          else this.takeRecord(this.build, fields, count, line)
        },
        reject: (line, reason, rejectedText) => {
          if (this.build === undefined)
            throw new CodedFailure('HYPHA_INVALID', `line ${line} should be the header, but ${reason}`)
          rejected.add(line, reason, rejectedText)
        },
      },
      columns?.length ?? 0,
    )
    return reader
  }

  private takeHeader(fields: readonly string[], count: number, line: number): number {
    const names = fields.slice(0, count).map(name => name.trim())
    const failure = (what: string): CodedFailure =>
      new CodedFailure(
        'HYPHA_INVALID',
        `line ${line} should be the header, but ${what}; --columns a,b,c names the columns of a file without one`,
      )
    if (names.includes('')) throw failure(`name ${names.indexOf('') + 1} is empty`)
    refuseRepeated(names, name => failure(`${name} stands there twice`))
    const { types } = this.plan
    const stray = types.find(column => !names.includes(column.name))
    if (stray !== undefined)
      throw new UsageFailure(`--types ${stray.name}: there is no such column; there are ${names.join(', ')}`)
    const columns = names.map(name => types.find(column => column.name === name) ?? ({ name, type: 'text' } as const))
    this.requireKey(columns)
    this.build = documentBuilder(columns)
    return count
  }

  private requireKey(columns: readonly Column[]): void {
    const { key } = this
    if (key === undefined || columns.some(column => column.name === key)) return
    throw new UsageFailure(
      `--key ${key}: there is no such column; there are ${columns.map(column => column.name).join(', ')}`,
    )
  }

  private takeRecord(build: DocumentBuilder, fields: readonly string[], count: number, line: number): void {
    let document: Document
    try {
      document = build(fields)
    } catch (error) {
      if (!(error instanceof FieldProblem)) throw error
      this.plan.rejected.add(line, messageOf(error), fields.slice(0, count).join(','))
      return
    }
    this.take(document, line, () => fields.slice(0, count).join(','))
  }

  private take(document: Document, line: number, text: () => string): void {
    if (this.key !== undefined && document[this.key] === undefined) {
      this.plan.rejected.add(line, `the key ${this.key} is missing`, text())
      return
    }
    this.writer.add(document, line)
  }
}
