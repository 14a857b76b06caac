/**
 * How page kinds (trees, overflow values) see the buffer pool: a reader's side without locks and a writer's side of
 * mini-transactions. See docs/ARCHITECTURE.md for the protocol.
 */
import type { PageMemory } from '../memory/page-memory.js'

declare const pageIdBrand: unique symbol
/** Logical page number: dense, positive, below 2^31; 0 means none. A plain number at run time. */
export type PageId = number & { readonly [pageIdBrand]?: true }

export const PAGE_HEADER_BYTES = 64

/** Byte offsets in the page header. */
export const PAGE_VERSION = 0
export const PAGE_ID = 4
export const PAGE_KIND = 8
export const PAGE_LEVEL = 9
export const PAGE_FLAGS = 10
export const PAGE_TABLE = 12
export const PAGE_LAST_CHANGE = 16
/** First byte of the part that belongs to the page kind. */
export const PAGE_KIND_HEADER = 32

export const KIND_LEAF = 1
export const KIND_INNER = 2
export const KIND_OVERFLOW = 3
export const KIND_MAP = 4
export const KIND_MAP_DIRECTORY = 5

/** Release order of a mini-transaction's pages: who receives keys first, then the parent, then who gave them away. */
export const ROLE_RECEIVER = 0
export const ROLE_PARENT = 1
export const ROLE_DONOR = 2
export type PageRole = 0 | 1 | 2

/** The reader's side. Registers instead of results: nothing is allocated. */
export interface PageReader {
  readonly pageSize: number
  /** Registers filled by `fix`. */
  memory: PageMemory
  base: number
  version: number
  /** Makes a page readable. Throws HYPHA_CORRUPT when its block is damaged. `frameUse` 0 = leaf, 1 = inner, 2 = overflow or scanned. */
  fix(pageId: PageId): void
  /** True when the page has not changed since `version` was taken. Always an atomic load. */
  valid(memory: PageMemory, base: number, version: number): boolean
}

/** The writer's side; only the holder of the commit latch uses it. Handles are small integers, valid until `end`. */
export interface MiniTransaction {
  readonly pageSize: number
  /** Indexed by handle. */
  readonly memory: PageMemory[]
  readonly base: number[]
  readonly pageId: PageId[]
  begin(): void
  /** Fixing the same page twice gives the same handle. */
  fix(pageId: PageId, role: PageRole): number
  allocate(kind: number, level: number, tableId: number, role: PageRole): number
  saveRange(handle: number, offset: number, length: number): void
  savePage(handle: number): void
  free(handle: number): void
  end(): void
}

/** Where overwritten versions go. */
export interface VersionStore {
  /** No reader needs a version that was superseded at or before this sequence. Ghosts at or below it may be purged. */
  readonly floor: number
  /**
   * Keeps a version that is about to be replaced; called inside a mini-transaction, before the row is edited; its own
   * control words are part of the mini-transaction's undo. Never fails: the caller of the tree has made room before.
   * Returns the pointer that the new row must carry. The key is the row's full key (versions that leave the ring are found
   * by key, not by position).
   */
  push(
    tableId: number,
    key: Uint8Array,
    keyLength: number,
    sequence: number,
    previous: number,
    supersededBy: number,
    flags: number,
    memory: PageMemory,
    valueOffset: number,
    valueLength: number,
  ): number
  /**
   * Follows `pointer` to the version of the row with this key visible at `sequence`. Returns the length of its value,
   * copied to `out.buffer` at 0 (grown as needed) with `out.flags` and `out.sequence` set; -1 when the row did not exist
   * then (or was a ghost); -2 when the pointer was trimmed meanwhile and the reader must start again.
   */
  read(pointer: number, sequence: number, out: VersionOut, tableId: number, key: Uint8Array, keyLength: number): number
}

export interface VersionOut {
  buffer: Buffer
  flags: number
  /** Commit sequence of the version found. */
  sequence: number
}
