/** A process of the demonstration: the import, with its progress told to the parent. Arguments: directory, file. */
import { runImport } from '../import/importer.js'
import { openInput } from '../import/input-file.js'
import { RejectedRows } from '../import/rejected-rows.js'
import { DEFAULT_LINE_LIMIT_BYTES } from '../input/line-blocks.js'
import { withDatabase } from '../open-database.js'
import { runChild } from './child.js'
import { onParent, tellParent } from './messages.js'
import { SALES, SALES_KEY } from './sales.js'

const BATCH = 50

await runChild(async (directory, [file = '']) => {
  const stop = new AbortController()
  onParent(message => {
    if (message.kind === 'stop') stop.abort()
  })
  const rejected = new RejectedRows(`${file}.rejected`)
  const input = await openInput(file)
  const result = await withDatabase(directory, { create: false }, database =>
    runImport({
      ...input,
      database,
      collection: SALES,
      format: 'csv',
      preset: 'price-paid',
      columns: undefined,
      types: [],
      key: SALES_KEY,
      batch: BATCH,
      lineLimitBytes: DEFAULT_LINE_LIMIT_BYTES,
      rejected,
      onProgress: ({ records, bytes, totalBytes }) => {
        void tellParent({ kind: 'progress', records, bytes, totalBytes })
      },
      signal: stop.signal,
    }),
  )
  rejected.close()
  await tellParent({ kind: 'imported', records: result.records, rejected: result.rejected, seconds: result.seconds })
})
