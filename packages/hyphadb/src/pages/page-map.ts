/**
 * The page map on disk: chunks of block numbers, and directory pages that name the chunks. Both are written to new blocks
 * by each checkpoint that changes them; in memory the whole map is `blockOf` (pages/directory.ts).
 *
 * Chunk n (kind 4, page id n + 1) holds the blocks of pages [n * E, (n + 1) * E), E = (page size - 64) / 4, as int32 from
 * byte 64. Directory page n (kind 5, page id n + 1) holds the blocks of chunks [n * E, (n + 1) * E) in the same way.
 */
import { crc32Range } from '../base/checksum.js'
import { HyphaError } from '../base/errors.js'
import * as L from '../memory/layout.js'
import { PageMemory } from '../memory/page-memory.js'
import type { Region } from '../memory/region.js'
import type { Allocator } from './allocator.js'
import { BLOCK_STABLE } from './allocator.js'
import type { BlockFile } from './block-file.js'
import { inCheckpoint, PAGE_USED } from './directory.js'
import { KIND_MAP, KIND_MAP_DIRECTORY, PAGE_HEADER_BYTES, PAGE_ID, PAGE_KIND } from './page-access.js'
import type { Superblock } from './superblock.js'

export class PageMap {
  readonly #image: PageMemory
  readonly entriesPerPage: number

  constructor(
    readonly region: Region,
    readonly allocator: Allocator,
    readonly file: BlockFile,
  ) {
    this.#image = new PageMemory(new ArrayBuffer(region.geometry.pageSize))
    this.entriesPerPage = (region.geometry.pageSize - PAGE_HEADER_BYTES) >> 2
  }

  /** Map page number of a chunk, and of a directory page, as the allocator counts them. */
  chunkPage(chunk: number): number {
    return -1 - chunk
  }

  directoryPage(n: number): number {
    return -1 - this.region.geometry.chunksMax - n
  }

  /** Writes the chunks and directory pages that differ from the last checkpoint's. Returns the directory's blocks. */
  *write(epoch: number): Generator<void, number[]> {
    const limit = this.region.control.i32[L.PAGE_LIMIT_I] as number
    const chunks = Math.ceil(limit / this.entriesPerPage)
    for (let chunk = 0; chunk < chunks; chunk++) {
      this.#start(KIND_MAP, chunk)
      this.allocator.exclusively(() => this.#fillChunk(chunk, epoch, limit))
      this.#writeIfChanged(this.chunkPage(chunk), epoch)
      yield
    }
    const directoryPages = Math.ceil(chunks / this.entriesPerPage)
    const blocks: number[] = []
    for (let n = 0; n < directoryPages; n++) {
      this.#start(KIND_MAP_DIRECTORY, n)
      const first = n * this.entriesPerPage
      for (let i = 0; i < this.entriesPerPage && first + i < chunks; i++) {
        this.#image.i32[(PAGE_HEADER_BYTES >> 2) + i] = this.allocator.mapPageBlock(this.chunkPage(first + i))
      }
      this.#writeIfChanged(this.directoryPage(n), epoch)
      blocks.push(this.allocator.mapPageBlock(this.directoryPage(n)))
    }
    return blocks
  }

  #start(kind: number, index: number): void {
    this.#image.u8.fill(0)
    this.#image.i32[PAGE_ID >> 2] = index + 1
    this.#image.u8[PAGE_KIND] = kind
  }

  #fillChunk(chunk: number, epoch: number, limit: number): void {
    const { pageState, blockOf } = this.region
    const { side } = this.allocator
    const first = chunk * this.entriesPerPage
    const end = Math.min(first + this.entriesPerPage, limit)
    const out = this.#image.i32
    for (let page = first, word = PAGE_HEADER_BYTES >> 2; page < end; page++, word++) {
      if (!inCheckpoint(pageState[page] as number, epoch)) continue
      const kept = side.count > 0 ? side.get(page) : -1
      out[word] = kept >= 0 ? kept : (blockOf[page] as number)
      if (out[word] === 0) {
        throw new HyphaError(
          'HYPHA_ASSERTION',
          `Broken invariant: page ${page} belongs to checkpoint ${epoch} and has no block`,
        )
      }
    }
  }

  #writeIfChanged(page: number, epoch: number): void {
    const checksum = crc32Range(this.#image.buffer, 4, this.#image.u8.length) | 0
    const before = this.allocator.mapPageBlock(page)
    if (before !== 0 && this.allocator.mapPageChecksum(page) === checksum && !this.#isInTheWay(before)) return
    this.#image.i32[0] = checksum
    const block = this.allocator.allocateBlock(page)
    try {
      this.file.write(block, this.#image.u8)
      this.allocator.placeMapPage(page, block, checksum, epoch)
    } catch (error) {
      this.allocator.releaseInFlight(page, block)
      throw error
    }
  }

  /** In the last quarter of a file that is mostly free: an unchanged map page there would keep the file from shrinking. */
  #isInTheWay(block: number): boolean {
    const limit = this.region.control.i32[L.BLOCK_LIMIT_I] as number
    return block >= limit - (limit >> 2) && this.allocator.freeBlocks > limit >> 1
  }

  /** Fills blockOf, page states and block states from a superblock. For the builder of a region. */
  load(superblock: Superblock): void {
    const { control } = this.region
    this.region.growDirectory(superblock.pageLimit, superblock.blockLimit)
    control.i32[L.PAGE_LIMIT_I] = superblock.pageLimit
    control.i32[L.BLOCK_LIMIT_I] = superblock.blockLimit
    superblock.directory.forEach((block, n) => {
      this.#read(block, KIND_MAP_DIRECTORY, n)
      this.#taken(block, superblock)
      this.allocator.loadMapPage(this.directoryPage(n), block, this.#image.i32[0] as number)
      const chunkBlocks = this.#image.i32.slice(PAGE_HEADER_BYTES >> 2)
      chunkBlocks.forEach((chunkBlock, i) => {
        if (chunkBlock !== 0) this.#loadChunk(n * this.entriesPerPage + i, chunkBlock, superblock)
      })
    })
  }

  #loadChunk(chunk: number, block: number, superblock: Superblock): void {
    this.#read(block, KIND_MAP, chunk)
    this.#taken(block, superblock)
    this.allocator.loadMapPage(this.chunkPage(chunk), block, this.#image.i32[0] as number)
    const { blockOf, pageState } = this.region
    const first = chunk * this.entriesPerPage
    const end = Math.min(first + this.entriesPerPage, superblock.pageLimit)
    for (let page = first, word = PAGE_HEADER_BYTES >> 2; page < end; page++, word++) {
      const pageBlock = this.#image.i32[word] as number
      if (pageBlock === 0) continue
      this.#taken(pageBlock, superblock)
      blockOf[page] = pageBlock
      pageState[page] = PAGE_USED
    }
  }

  #taken(block: number, superblock: Superblock): void {
    const { blockState } = this.region
    if (block < this.file.firstBlock || block >= superblock.blockLimit || blockState[block] === BLOCK_STABLE) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `The page map in ${this.file.file.path} names block ${block}, which is out of range or used twice. Restore from a backup`,
      )
    }
    blockState[block] = BLOCK_STABLE
  }

  #read(block: number, kind: number, index: number): void {
    const image = this.#image
    const whole = this.file.read(block, image.u8)
    if (
      !whole ||
      image.i32[PAGE_ID >> 2] !== index + 1 ||
      image.u8[PAGE_KIND] !== kind ||
      image.i32[0] !== (crc32Range(image.buffer, 4, image.u8.length) | 0)
    ) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `The page map is damaged in ${this.file.file.path} at offset ${block * image.u8.length}. Run \`hypha verify\`, restore from a backup`,
      )
    }
  }
}
