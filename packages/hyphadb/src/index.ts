/** The public face: what is not exported here may change at any time. */
export { type ErrorCode, errorCodes, HyphaError, isHyphaError } from './base/errors.js'
export type { IndexOptions } from './documents/catalog.js'
export type {
  Change,
  Collection,
  Document,
  SnapshotCollection,
  TransactionCollection,
  WriteOptions,
} from './documents/collection.js'
export {
  type CollectionOptions,
  type Database,
  type DatabaseOptions,
  type DatabaseReport,
  type DatabaseSnapshot,
  type DocumentTransaction,
  openDatabase,
} from './documents/database.js'
export type { DocumentEngine } from './documents/document-engine.js'
export type { Filter } from './documents/filter.js'
export { createId } from './documents/ids.js'
export type { Key } from './documents/keys.js'
export { open } from './documents/open.js'
export type { FieldsOption } from './documents/projection.js'
export type { Explanation, FindOptions, Query, QueryIterator } from './documents/query.js'
export type { StandardResult, StandardSchema } from './documents/schema.js'
export type { SortOption } from './documents/sorting.js'
export type { ByteTable, ByteTableOptions, RangeOptions, RowRange, TableRow } from './documents/table.js'
export type { Durability, Isolation, TransactionOptions } from './engine/api.js'
export type { OpenOptions } from './engine/options.js'
export type { EngineStats } from './engine/stats.js'
export type { VerifyFault, VerifyReport } from './engine/verify.js'
