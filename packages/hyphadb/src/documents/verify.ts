/**
 * Verify, the documents' part: every document decodes, has each of its entries in every index that is built, and every
 * index holds these entries and no others. Read from one snapshot, while others go on writing.
 */
import { compareBytes } from '../base/bytes.js'
import { isHyphaError } from '../base/errors.js'
import type { Snapshot } from '../engine/api.js'
import type { VerifyFault } from '../engine/verify.js'
import type { CollectionState } from './catalog.js'
import { decodeDocument } from './codec-reader.js'
import { EntryReader, FIRST_ENTRY, FLAG_SEVERAL, type OpenIndex, SEVERAL_ROW } from './index-entries.js'
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
      this.report(`${this.nameOf(index)} has ${found} entries where the documents make ${expected}`)
      await this.findSurplus(index)
    }
  }

  /** Names the entries that follow from no document. */
  private async findSurplus(index: OpenIndex): Promise<void> {
    const cursor = this.snapshot.range(index.table, { gte: FIRST_ENTRY })
    const reader = new EntryReader(index)
    for (let row = 1; cursor.next(); row++) {
      reader.read(cursor)
      const key = Uint8Array.from(reader.key())
      if (!this.follows(index, key, cursor.key())) {
        this.report(`${this.nameOf(index)} has an entry for document ${nameOf(key)} that does not follow from it`)
      }
      if (row % DOCUMENTS_AT_ONCE === 0) await turn()
    }
  }

  private follows(index: OpenIndex, key: Uint8Array, entryKey: Uint8Array): boolean {
    const { snapshot, context } = this
    if (!snapshot.find(this.state.table, key)) return false
    try {
      const document = decodeDocument(snapshot.buffer, snapshot.valueStart, snapshot.valueEnd, context.shapes)
      return index.entriesOf(document, key, context.scratch).some(each => compareBytes(each.key, entryKey) === 0)
    } catch (error) {
      if (!isHyphaError(error)) throw error
      return true // the document has been reported
    }
  }

  private nameOf(index: OpenIndex): string {
    return `index '${index.name}' of collection '${this.name}'`
  }

  private checkEntries(key: Uint8Array, document: object): void {
    for (const [index, before] of this.expected) {
      const entries = index.entriesOf(document, key, this.context.scratch)
      this.expected.set(index, before + entries.length)
      for (const entry of entries) {
        const value = this.snapshot.get(index.table, entry.key)
        if (value === undefined || Buffer.compare(value, entry.value) !== 0) {
          this.report(`${this.nameOf(index)} lacks the entry of document ${nameOf(key)}, or has it for another`)
        } else if ((entry.flags & FLAG_SEVERAL) !== 0 && !this.snapshot.find(index.table, SEVERAL_ROW)) {
          this.report(`${this.nameOf(index)} does not say that documents have several entries, as ${nameOf(key)} has`)
        }
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
