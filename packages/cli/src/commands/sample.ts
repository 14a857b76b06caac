/** `hypha sample`: made-up rows on stdout, at the pace of whoever reads them. */

import { CodedFailure } from '../failure.js'
import { CsvReader } from '../input/csv-records.js'
import { PRICE_PAID_COLUMNS, pricePaidDocument } from '../input/price-paid.js'
import { toJson } from '../json-values.js'
import { Output } from '../output.js'
import type { SampleCommandOptions } from '../program.js'
import { samplePricePaid } from '../sample/price-paid.js'

export async function sampleCommand(options: SampleCommandOptions, signal: AbortSignal): Promise<void> {
  const output = new Output(process.stdout)
  const written =
    options.json === true
      ? asJsonLines(samplePricePaid(options.rows, options.seed))
      : samplePricePaid(options.rows, options.seed)
  for (const piece of written) {
    await output.write(piece)
    signal.throwIfAborted()
  }
  await output.flush()
}

function* asJsonLines(pieces: Iterable<string>): Generator<string, void, void> {
  let lines = ''
  const reader = new CsvReader(
    {
      record: fields => {
        lines += `${toJson(pricePaidDocument(fields))}\n`
      },
      reject: (_line, reason) => {
        throw new CodedFailure('HYPHA_ASSERTION', `a made-up row is no CSV: ${reason}`)
      },
    },
    PRICE_PAID_COLUMNS.length,
  )
  for (const piece of pieces) {
    lines = ''
    reader.push(piece, 1)
    yield lines
  }
}
