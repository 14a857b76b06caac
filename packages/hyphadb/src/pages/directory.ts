/**
 * The page directory: flat arrays, indexed by page id or block number, in growable shared memory.
 *
 * | array | index | entry | meaning |
 * |---|---|---|---|
 * | frameOf | page | Int32 | frame + 1 that holds the page; 0: not in memory. The one authority on residency |
 * | sideOf | page | Int32 | see pages/side-table.ts |
 * | blockOf | page | Int32 | block of the data file with the newest written image; 0: never written |
 * | pageState | page | Uint16 | see below |
 * | blockState | block | Uint8 | see pages/allocator.ts |
 *
 * Page states
 * ```
 *            allocate (allocator latch)            end of the mini-transaction (commit latch)
 *   FREE ───────────────────────────────► RESERVED(slot) ─────────────────────► FRESH(parity of the epoch)
 *    ▲  ◄──────────────────────────────── (given back, or its owner died)           │ checkpoint completes
 *    │                                                                              ▼
 *    └──────────────────────────────────── FREED(parity of the epoch) ◄────────── USED
 *      sweepFreed (allocator latch)                            end of the mini-transaction
 * ```
 * A page that is freed in the epoch in which it was born (FRESH of the open epoch) becomes DROPPED instead of FREED: no
 * checkpoint has ever heard of it, and it may never have been written.
 *
 * A checkpoint of epoch e contains the pages that are USED, FRESH(e), or FREED(e + 1).
 *
 * Costs 15 bytes a page: 0.09 % of the data at 16 KiB. A resident map needs no paging, no deltas of its own, and a lookup
 * takes no latch (docs/decisions/0001-resident-page-map.md).
 */

export const PAGE_FREE = 0
export const PAGE_USED = 1
export const PAGE_FRESH = 2 // + parity
export const PAGE_FREED = 4 // + parity
export const PAGE_DROPPED = 6
export const PAGE_RESERVED = 16 // + slot

export function inCheckpoint(state: number, epoch: number): boolean {
  const parity = epoch & 1
  return state === PAGE_USED || state === PAGE_FRESH + parity || state === PAGE_FREED + (parity ^ 1)
}
