/**
 * Stores documents in transactions of a fixed number of records.
 *
 * Commits are made in the order of the input, each at once, so that of two rows with one key the later one stays.
 * Their way to the disk is not waited for: after each window of transactions the writer asks to be told when everything
 * so far is durable, goes on with the next window, and waits only when that one is full too. One window is being
 * synced while the next is parsed and committed.
 */
import type { Database, Document } from '../database.js'
import { codeOf, messageOf } from '../failure.js'

/** Transactions committed before durability is asked for. */
const WINDOW_TRANSACTIONS = 64

/** Codes that speak of one document, not of the database. */
const DOCUMENT_CODES = new Set(['HYPHA_INVALID', 'HYPHA_DUPLICATE'])

export class BatchWriter {
  /** Records committed. */
  records = 0
  private documents: Document[] = []
  private lines: number[] = []
  private transactions = 0
  /** Durability of the window before. */
  private syncing: Promise<void> = Promise.resolve()

  constructor(
    private readonly database: Database,
    private readonly collection: string,
    private readonly batch: number,
    private readonly reject: (line: number, reason: string, text: string) => void,
  ) {}

  add(document: Document, line: number): void {
    this.documents.push(document)
    this.lines.push(line)
    if (this.documents.length >= this.batch) this.commit()
  }

  /** True when a window is full and `settle` should be awaited before going on. */
  get isWindowFull(): boolean {
    return this.transactions >= WINDOW_TRANSACTIONS
  }

  /** Starts making this window durable and waits for the one before. */
  async settle(): Promise<void> {
    this.transactions = 0
    await this.syncing
    this.syncing = this.database.flushed()
    // A failure is reported by the await above or in `finish`; until then nobody listens.
    this.syncing.catch(() => undefined)
  }

  /** Commits what is left and waits until everything is on disk. */
  async finish(): Promise<void> {
    this.commit()
    await this.syncing
    await this.database.flushed()
  }

  private commit(): void {
    if (this.documents.length === 0) return
    try {
      this.store(this.documents)
      this.records += this.documents.length
    } catch (error) {
      if (!DOCUMENT_CODES.has(codeOf(error))) throw error
      this.commitSingly()
    }
    this.documents = []
    this.lines = []
    this.transactions++
  }

  /** One of the documents is refused: each gets a transaction of its own, so that only that one is lost. */
  private commitSingly(): void {
    for (const [index, document] of this.documents.entries()) {
      try {
        this.store([document])
        this.records++
      } catch (error) {
        if (!DOCUMENT_CODES.has(codeOf(error))) throw error
        this.reject(this.lines[index] ?? 0, `${codeOf(error)}: ${messageOf(error)}`, excerpt(document))
      }
    }
  }

  private store(documents: readonly Document[]): void {
    this.database.transactionSync(
      tx => {
        const collection = tx.collection(this.collection)
        for (const document of documents) collection.put(document)
      },
      { durability: 'none' },
    )
  }
}

function excerpt(document: Document): string {
  try {
    return JSON.stringify(document, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))
  } catch {
    return ''
  }
}
