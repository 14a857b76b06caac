/**
 * What documents need of the engine beyond tables and transactions: to notice that another process has created or dropped
 * a table, and how long a key may be.
 */
import type { Engine } from '../engine/api.js'
import type { EngineStats } from '../engine/stats.js'
import type { VerifyReport } from '../engine/verify.js'

export interface DocumentEngine extends Engine {
  /**
   * Changes with every table created or dropped, in whatever process. Read inside a transaction's callback it is the
   * version that the transaction began with, or the transaction will not commit: the engine validates the catalog.
   */
  readonly catalogVersion: number
  /** Follows from the page size. */
  readonly maximumKeyBytes: number
  readonly directory: string
  /** Reads everything and reports every fault. */
  verify(): Promise<VerifyReport>
  stats(): EngineStats
}
