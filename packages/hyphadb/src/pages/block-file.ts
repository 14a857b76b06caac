/** The data file as an array of blocks of one page each. The first blocks hold the superblocks (see superblock.ts). */
import type { FileHandle } from '../os/file-system.js'

/** Superblock area: four copies of 4096 bytes. */
export const SUPERBLOCK_BYTES = 4096
export const SUPERBLOCK_COPIES = 4

/** Stands before every change of the file; throws when the region that this belongs to has been given up. */
export interface ChangeGate {
  enter(): void
  leave(): void
  /** Throws as `enter` does, and counts nothing. */
  check(): void
}

const open: ChangeGate = { enter: () => {}, leave: () => {}, check: () => {} }

export class BlockFile {
  /** The first block that pages may use. */
  readonly firstBlock: number

  constructor(
    readonly file: FileHandle,
    readonly blockBytes: number,
    readonly gate: ChangeGate = open,
  ) {
    this.firstBlock = Math.max(1, (SUPERBLOCK_BYTES * SUPERBLOCK_COPIES) / blockBytes)
  }

  /**
   * Synchronous; fills `target` or returns false when the file ends before. Throws when the region has been given up: the
   * next one may have used the block again.
   */
  read(block: number, target: Uint8Array): boolean {
    const whole = this.file.read(target, 0, this.blockBytes, block * this.blockBytes) === this.blockBytes
    this.gate.check()
    return whole
  }

  write(block: number, source: Uint8Array): void {
    this.change(file => file.write(source, 0, this.blockBytes, block * this.blockBytes))
  }

  /** Gives the file room for `blocks` blocks in all. HYPHA_DISK_FULL when there is none. */
  extend(blocks: number): void {
    this.change(file => {
      const have = file.size()
      const want = blocks * this.blockBytes
      if (want > have) file.allocate(have, want - have)
    })
  }

  /** Whatever changes the file happens inside the gate. */
  change(work: (file: FileHandle) => void): void {
    this.gate.enter()
    try {
      work(this.file)
    } finally {
      this.gate.leave()
    }
  }
}
