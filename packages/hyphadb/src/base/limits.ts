/** Sizes that several layers must agree on. What one layer alone decides lives there. */

export const KIB = 1024
export const MIB = 1024 * 1024
export const GIB = 1024 * 1024 * 1024

/** The kernel's page: mappings and their pieces are multiples of it. */
export const SYSTEM_PAGE_BYTES = 4096

/** Size of a database page, a power of two, fixed when the database is created. */
export const MIN_PAGE_BYTES = 4 * KIB
export const DEFAULT_PAGE_BYTES = 16 * KIB
export const MAX_PAGE_BYTES = 64 * KIB

/** One mapping and one ArrayBuffer over it; Node 20 aborts beyond 4 GiB, and int32 indexes stay positive below 2. */
export const MAX_ARENA_BYTES = GIB
/** Step in which memory is allocated and mapped: large enough to be rare, small enough not to stall (0.23 ms per MiB). */
export const MEMORY_STEP_BYTES = 16 * MIB

export const MAX_VALUE_BYTES = GIB
export const MAX_TABLE_NAME_BYTES = 255
/** Page ids, block numbers and table ids are positive int32. */
export const MAX_PAGE_ID = 0x7fffffff

export const DEFAULT_MEMORY_BYTES = 256 * MIB
export const DEFAULT_FLUSH_INTERVAL_MS = 50
/** How long a call waits for a latch whose holder is alive before HYPHA_BUSY. */
export const DEFAULT_BUSY_TIMEOUT_MS = 10_000

/** Longest key of a table with pages of this size: an inner page must hold at least four separators. */
export function maxKeyBytes(pageBytes: number): number {
  return pageBytes >>> 3
}
