/** The command line's import of the price-paid file: the article's measure, and the main job. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const HYPHA = join(REPOSITORY, 'packages/cli/bin/hypha.js')
/** The real file, where it lies beside the repository. */
const REAL_FILE = join(REPOSITORY, '../shared/data/price-paid-real.csv')
const SAMPLE_ROWS = 68_661

export interface ImportFile {
  readonly path: string
  readonly real: boolean
}

function hypha(parameters: readonly string[], timeoutMs: number): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [HYPHA, ...parameters], {
    encoding: 'utf8',
    timeout: timeoutMs,
    maxBuffer: 2 ** 28,
  })
  if (status !== 0) throw new Error(`hypha ${parameters[0]}: ${stderr.trim() || `ended with ${status}`}`)
  return stdout
}

/** The file to import: the real one if it is there, else a sample; shortened if so many records are too many. */
export async function importFile(directory: string, records: number, timeoutMs: number): Promise<ImportFile> {
  const path = join(directory, 'sales.csv')
  if (existsSync(REAL_FILE)) {
    if (records === Number.POSITIVE_INFINITY) return { path: REAL_FILE, real: true }
    await copyLines(REAL_FILE, path, records)
    return { path, real: true }
  }
  const rows = Math.min(records, SAMPLE_ROWS)
  const out = createWriteStream(path)
  out.end(hypha(['sample', 'price-paid', '--rows', String(rows), '--seed', '1'], timeoutMs))
  await once(out, 'finish')
  return { path, real: false }
}

async function copyLines(from: string, to: string, lines: number): Promise<void> {
  const out = createWriteStream(to)
  let count = 0
  for await (const line of createInterface({ input: createReadStream(from) })) {
    out.write(`${line}\n`)
    if (++count >= lines) break
  }
  out.end()
  await once(out, 'finish')
}

/** Records a second, as the import itself counts them: from its first byte read to its last byte on disk. */
export function runImport(file: ImportFile, directory: string, batch: number, timeoutMs: number): number {
  const output = hypha(
    [
      ...['import', directory, 'sales', file.path, '--preset', 'price-paid', '--index', 'town,price'],
      ...['--index', 'postcode', '--batch', String(batch), '--json', '--rejected', `${directory}.rejected`],
    ],
    timeoutMs,
  )
  const result = JSON.parse(output) as { records: number; recordsPerSecond: number }
  if (result.records === 0) throw new Error('The import stored nothing')
  return result.recordsPerSecond
}
