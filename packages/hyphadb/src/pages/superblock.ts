/**
 * Superblocks: the root of everything on disk. Two, written in turn (epoch parity), each stored twice.
 *
 * Copy c of superblock s lies at byte (2 s + c) * 4096 of the data file:
 * | byte | type | what |
 * |---|---|---|
 * | 0 | 8 bytes | "HYPHADB1" |
 * | 8 | u32 | format version |
 * | 12 | u32 | crc32 of bytes 0..11 and 16..4095 |
 * | 16 | 16 bytes | database id |
 * | 32 | i32 | page size |
 * | 36 | i32 | epoch of the checkpoint |
 * | 40 | f64 | log position of the checkpoint: everything before is in its pages |
 * | 48 | f64 | redo position: where recovery begins to read (first fragment of a transaction open at the checkpoint) |
 * | 56 | f64 | commit sequence of the checkpoint |
 * | 64 | f64 | clock: largest timestamp handed out |
 * | 72 | i32 | page limit: one more than the largest page id |
 * | 76 | i32 | block limit: blocks of the data file |
 * | 80 | i32 | log segment bytes |
 * | 84 | i32 | directory pages |
 * | 88..2047 | | zero |
 * | 2048 | i32 each | block of each directory page |
 */
import { crc32Range } from '../base/checksum.js'
import { HyphaError } from '../base/errors.js'
import { faultPoint } from '../base/fault-points.js'
import { MAP_DIRECTORY_MAX } from '../memory/layout.js'
import type { FileHandle } from '../os/file-system.js'
import { SUPERBLOCK_BYTES } from './block-file.js'

const MAGIC = 'HYPHADB1'
export const DATA_FORMAT_VERSION = 1
const DIRECTORY_OFFSET = 2048

export interface Superblock {
  databaseId: Uint8Array
  pageSize: number
  epoch: number
  position: number
  redo: number
  sequence: number
  clock: number
  pageLimit: number
  blockLimit: number
  segmentBytes: number
  directory: number[]
}

export function encodeSuperblock(superblock: Superblock): Buffer {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES)
  bytes.write(MAGIC, 0, 'latin1')
  bytes.writeUInt32LE(DATA_FORMAT_VERSION, 8)
  bytes.set(superblock.databaseId, 16)
  bytes.writeInt32LE(superblock.pageSize, 32)
  bytes.writeInt32LE(superblock.epoch, 36)
  bytes.writeDoubleLE(superblock.position, 40)
  bytes.writeDoubleLE(superblock.redo, 48)
  bytes.writeDoubleLE(superblock.sequence, 56)
  bytes.writeDoubleLE(superblock.clock, 64)
  bytes.writeInt32LE(superblock.pageLimit, 72)
  bytes.writeInt32LE(superblock.blockLimit, 76)
  bytes.writeInt32LE(superblock.segmentBytes, 80)
  bytes.writeInt32LE(superblock.directory.length, 84)
  for (const [n, block] of superblock.directory.entries()) bytes.writeInt32LE(block, DIRECTORY_OFFSET + n * 4)
  bytes.writeUInt32LE(checksum(bytes), 12)
  return bytes
}

function checksum(bytes: Buffer): number {
  return crc32Range(bytes, 16, SUPERBLOCK_BYTES, crc32Range(bytes, 0, 12)) >>> 0
}

type Copy = Superblock | 'blank' | 'damaged'

function decode(bytes: Buffer, path: string): Copy {
  if (bytes.every(byte => byte === 0)) return 'blank'
  if (bytes.readUInt32LE(12) !== checksum(bytes) || bytes.latin1Slice(0, 8) !== MAGIC) return 'damaged'
  const version = bytes.readUInt32LE(8)
  if (version !== DATA_FORMAT_VERSION) {
    throw new HyphaError(
      'HYPHA_VERSION',
      `${path} has data format ${version}; this version of HyphaDB reads ${DATA_FORMAT_VERSION}. Open it with the version that wrote it, export and import`,
    )
  }
  const directoryPages = bytes.readInt32LE(84)
  if (directoryPages < 0 || directoryPages > MAP_DIRECTORY_MAX) return 'damaged'
  return {
    databaseId: Uint8Array.from(bytes.subarray(16, 32)),
    pageSize: bytes.readInt32LE(32),
    epoch: bytes.readInt32LE(36),
    position: bytes.readDoubleLE(40),
    redo: bytes.readDoubleLE(48),
    sequence: bytes.readDoubleLE(56),
    clock: bytes.readDoubleLE(64),
    pageLimit: bytes.readInt32LE(72),
    blockLimit: bytes.readInt32LE(76),
    segmentBytes: bytes.readInt32LE(80),
    directory: Array.from({ length: directoryPages }, (_, n) => bytes.readInt32LE(DIRECTORY_OFFSET + n * 4)),
  }
}

export interface Superblocks {
  /** Valid ones, newest first. */
  readonly valid: Superblock[]
  /** Where a slot is that cannot be read in either copy; a blank one is found where the first recovery is still to come. */
  readonly lostOffset: number | undefined
  /** What is wrong with single copies, for `verify`. */
  readonly faults: { offset: number; what: string }[]
}

/** Reads all four copies. Throws HYPHA_CORRUPT when none is valid, HYPHA_VERSION for another format. */
export function readSuperblocks(file: FileHandle): Superblocks {
  const valid: Superblock[] = []
  const faults: { offset: number; what: string }[] = []
  let lostOffset: number | undefined
  for (let slot = 0; slot < 2; slot++) {
    const copies = [0, 1].map(copy => {
      const offset = (slot * 2 + copy) * SUPERBLOCK_BYTES
      const bytes = readCopy(file, slot, copy)
      const result = decode(bytes, file.path)
      if (result === 'damaged') faults.push({ offset, what: 'a superblock copy fails its checksum' })
      return result
    })
    const good = copies
      .filter((copy): copy is Superblock => typeof copy === 'object')
      .sort((a, b) => b.epoch - a.epoch)[0]
    if (good !== undefined) valid.push(good)
    else lostOffset = slot * 2 * SUPERBLOCK_BYTES
  }
  valid.sort((a, b) => b.epoch - a.epoch)
  if (valid.length === 0) {
    throw new HyphaError(
      'HYPHA_CORRUPT',
      `${file.path} has no readable superblock at offset 0: it is no HyphaDB data file, or its beginning is damaged. Restore from a backup`,
    )
  }
  return { valid, lostOffset, faults }
}

/**
 * Makes all four copies those of the superblock that recovery starts from, before it writes anything else. What was in the
 * other slot has served: blocks that only it named will be used again, so nobody may ever fall back to it, also where no
 * completion record stands in the log. And what a power loss left half written is no damage, and is not to be found as
 * such later. A bad copy of a checkpoint that was complete is damage: it stays, for `verify` to tell.
 */
export function settleSuperblocks(file: FileHandle, superblock: Superblock, wasCompleted: () => boolean): void {
  const good = encodeSuperblock(superblock)
  const own = superblock.epoch & 1
  let written = false
  for (const slot of [own, own ^ 1]) {
    const different = [0, 1].filter(copy => !readCopy(file, slot, copy).equals(good))
    if (different.length === 0 || (slot === own && wasCompleted())) continue
    for (const copy of different) file.write(good, 0, SUPERBLOCK_BYTES, (slot * 2 + copy) * SUPERBLOCK_BYTES)
    // One slot after the other: at every moment one of them is whole.
    file.sync()
    written = true
  }
  if (written) faultPoint('recovery.superblocks-settled')
}

function readCopy(file: FileHandle, slot: number, copy: number): Buffer {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES)
  file.read(bytes, 0, SUPERBLOCK_BYTES, (slot * 2 + copy) * SUPERBLOCK_BYTES)
  return bytes
}

/** Writes both copies of the superblock's slot; the caller syncs before and after. */
export function writeSuperblock(file: FileHandle, superblock: Superblock): void {
  const bytes = encodeSuperblock(superblock)
  const slot = superblock.epoch & 1
  file.write(bytes, 0, SUPERBLOCK_BYTES, slot * 2 * SUPERBLOCK_BYTES)
  file.write(bytes, 0, SUPERBLOCK_BYTES, (slot * 2 + 1) * SUPERBLOCK_BYTES)
}
