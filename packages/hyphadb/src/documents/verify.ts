/**
 * Verify, the documents' part: every document decodes, has each of its entries in every index that is built, and every
 * index holds these entries and no others. Read from one snapshot, while others go on writing.
 */
import { isHyphaError } from '../base/errors.js'
import type { Snapshot } from '../engine/api.js'
import type { VerifyFault } from '../engine/verify.js'
import type { CollectionState } from './catalog.js'
import { decodeDocument } from './codec-reader.js'
import { FIRST_ENTRY, type OpenIndex } from './index-entries.js'
import { decodeKey } from './keys.js'
import type { DocumentContext } from './writer.js'
import { describeKey } from './writer.js'

export interface DocumentsReport {
  readonly collections: number
  readonly documents: number
  readonly indexEntries: number
  readonly faults: VerifyFault[]
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const DOCUMENTS_AT_ONCE = 500

export async function verifyDocuments(context: DocumentContext, file: string): Promise<DocumentsReport> {
  const faults: VerifyFault[] = []
  const names = context.catalog.collections()
  const snapshot = context.engine.snapshot()
  let documents = 0
  let indexEntries = 0
  try {
    for (const name of names) {
      const state = context.catalog.state(name)
      if (state === undefined) continue
      const check = new CollectionCheck(context, snapshot, name, state, fault =>
        faults.push({ file, table: state.table.id, what: fault }),
      )
      await check.run()
      documents += check.documents
      indexEntries += check.entries
    }
  } finally {
    snapshot.close()
  }
  return { collections: names.length, documents, indexEntries, faults }
}

class CollectionCheck {
  documents = 0
  entries = 0
  /** Entries that the documents seen so far have, by index. */
  private readonly expected = new Map<OpenIndex, number>()

  constructor(
    private readonly context: DocumentContext,
    private readonly snapshot: Snapshot,
    private readonly name: string,
    private readonly state: CollectionState,
    private readonly report: (what: string) => void,
  ) {
    for (const index of state.indexes) {
      if (index.isReady(snapshot, context.engine.latest)) this.expected.set(index, 0)
    }
  }

  async run(): Promise<void> {
    const cursor = this.snapshot.range(this.state.table, {})
    while (cursor.next()) {
      this.documents++
      const key = cursor.key()
      try {
        this.checkEntries(key, decodeDocument(cursor.buffer, cursor.valueStart, cursor.valueEnd, this.context.shapes))
      } catch (error) {
        if (!isHyphaError(error)) throw error
        this.report(`document ${nameOf(key)} of collection '${this.name}': ${error.message}`)
      }
      if (this.documents % DOCUMENTS_AT_ONCE === 0) await turn()
    }
    for (const [index, expected] of this.expected) {
      const found = this.snapshot.count(index.table, { gte: FIRST_ENTRY })
      this.entries += found
      if (found === expected) continue
      this.report(`index '${index.name}' of collection '${this.name}' has ${found} entries where the documents make ${expected}`)
    }
  }

  private checkEntries(key: Uint8Array, document: object): void {
    for (const [index, before] of this.expected) {
      const entries = index.entriesOf(document, key, this.context.scratch)
      this.expected.set(index, before + entries.length)
      for (const entry of entries) {
        const value = this.snapshot.get(index.table, entry.key)
        if (value !== undefined && Buffer.compare(value, entry.value) === 0) continue
        this.report(`index '${index.name}' of collection '${this.name}' lacks the entry of document ${nameOf(key)}, or has it for another`)
      }
    }
  }
}

function nameOf(key: Uint8Array): string {
  try {
    return describeKey(decodeKey(Buffer.from(key)))
  } catch {
    return Buffer.from(key).toString('hex')
  }
}
