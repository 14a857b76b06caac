/** The engine's face towards everything above it. The types stand with the transactions that implement them. */
export type * from '../txn/api.js'
