/** A page as it stands on disk: its checksum, and how long pages of its kind should stay in memory. */
import { crc32Range } from '../base/checksum.js'
import type { PageMemory } from '../memory/page-memory.js'
import { KIND_INNER, KIND_OVERFLOW, PAGE_ID } from './page-access.js'

/** In memory the first word is the version, on disk the checksum. */
export function prepareForDisk(image: PageMemory, pageSize: number): void {
  image.i32[0] = checksumOf(image, pageSize)
}

/** Checksum and page id of an image read from disk. */
export function imageIsGood(image: PageMemory, pageId: number, pageSize: number): boolean {
  return (image.i32[PAGE_ID >> 2] as number) === pageId && (image.i32[0] as number) === checksumOf(image, pageSize)
}

function checksumOf(image: PageMemory, pageSize: number): number {
  return crc32Range(image.buffer, 4, pageSize) | 0
}

/** Rounds that a page of each kind survives the clock's hand after its last use: inner nodes stay, overflow leaves first. */
export function roundsOf(kind: number): number {
  return kind === KIND_INNER ? 4 << 1 : kind === KIND_OVERFLOW ? 0 : 1 << 1
}
