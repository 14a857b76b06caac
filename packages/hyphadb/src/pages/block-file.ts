/** The data file as an array of blocks of one page each. The first blocks hold the superblocks (see checkpoint.ts). */
import type { FileHandle } from '../os/file-system.js'

/** Superblock area: four copies of 4096 bytes. */
export const SUPERBLOCK_BYTES = 4096
export const SUPERBLOCK_COPIES = 4

export class BlockFile {
  /** The first block that pages may use. */
  readonly firstBlock: number

  constructor(
    readonly file: FileHandle,
    readonly blockBytes: number,
  ) {
    this.firstBlock = Math.max(1, (SUPERBLOCK_BYTES * SUPERBLOCK_COPIES) / blockBytes)
  }

  /** Synchronous; fills `target` or returns false when the file ends before. */
  read(block: number, target: Uint8Array): boolean {
    return this.file.read(target, 0, this.blockBytes, block * this.blockBytes) === this.blockBytes
  }

  write(block: number, source: Uint8Array): void {
    this.file.write(source, 0, this.blockBytes, block * this.blockBytes)
  }

  /** Gives the file room for `blocks` blocks in all. HYPHA_DISK_FULL when there is none. */
  extend(blocks: number): void {
    const have = this.file.size()
    const want = blocks * this.blockBytes
    if (want > have) this.file.allocate(have, want - have)
  }
}
