/**
 * What the database asks of a disk, as an interface: the real one (real-file-system.ts) and simulated ones that lose,
 * tear and reorder what was not synced. Errors are HyphaErrors with the system's error as cause.
 *
 * Positions and lengths are bytes. Reads and writes are positional and complete: a write that returns has written all, a
 * read is short only at the end of the file. Durable is what was written before a `sync` that returned; a name is durable
 * after `syncDirectory`.
 */
import { dirname, join } from 'node:path'
import { isHyphaError } from '../base/errors.js'

export interface FileIdentity {
  readonly device: number
  readonly inode: number
}

/** Inode numbers beyond 2^53 are rounded; equal files stay equal. */
export function identityOf(stat: { dev: number; ino: number }): FileIdentity {
  return { device: stat.dev, inode: stat.ino }
}

/** An open file. Used by the thread that opened it. */
export interface FileHandle {
  readonly path: string
  /** Reads up to `length` bytes at `position` into `buffer[offset, …)`; returns how many: fewer only at the file's end. */
  read(buffer: Uint8Array, offset: number, length: number, position: number): number
  readAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number>
  /** Writes exactly `length` bytes. */
  write(buffer: Uint8Array, offset: number, length: number, position: number): void
  writeAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<void>
  /** fdatasync: contents and size are durable afterwards. */
  sync(): void
  syncAsync(): Promise<void>
  /** Makes room on the disk for a range, extending the file where needed; new bytes read as zeros. */
  allocate(position: number, length: number): void
  /** Gives a range back to the disk; it reads as zeros. False when the file system cannot. */
  punchHole(position: number, length: number): boolean
  truncate(size: number): void
  size(): number
  identity(): FileIdentity
  close(): void
}

export interface OpenOptions {
  /** 'never' (default): must exist; 'missing': created when it does not; 'exclusive': must not exist. */
  create?: 'never' | 'missing' | 'exclusive'
  readOnly?: boolean
  /** O_DIRECT: memory, position and length must be multiples of 4096. */
  direct?: boolean
}

/** Everything is created for the owner alone: files 0600, directories 0700. */
export interface FileSystem {
  open(path: string, options?: OpenOptions): FileHandle
  /** Creates a directory and its missing parents; no error when it exists. */
  makeDirectory(path: string): void
  /** Names in a directory, sorted. */
  list(path: string): string[]
  /** Replaces `to` atomically. */
  rename(from: string, to: string): void
  /** No error when it does not exist. */
  unlink(path: string): void
  syncDirectory(path: string): void
  exists(path: string): boolean
  identity(path: string): FileIdentity
  /** Bytes that an unprivileged process may still write on the file system of `path`. */
  freeBytes(path: string): number
}

/** The whole of a small file, or undefined when it does not exist. */
export function readWholeFile(files: FileSystem, path: string): Buffer | undefined {
  let handle: FileHandle
  try {
    handle = files.open(path, { readOnly: true })
  } catch (error) {
    if (isHyphaError(error, 'HYPHA_NOT_FOUND')) return undefined
    throw error
  }
  try {
    const content = Buffer.alloc(handle.size())
    return content.subarray(0, handle.read(content, 0, content.length, 0))
  } finally {
    handle.close()
  }
}

/**
 * Puts a small file in place so that after a power loss either the old or the new one is there, whole; durable on return.
 * One writer at a time.
 */
export function replaceWholeFile(files: FileSystem, path: string, content: Uint8Array): void {
  const temporary = `${path}.new`
  files.unlink(temporary)
  const handle = files.open(temporary, { create: 'exclusive' })
  try {
    handle.write(content, 0, content.length, 0)
    handle.sync()
  } finally {
    handle.close()
  }
  files.rename(temporary, path)
  files.syncDirectory(dirname(path))
}

/** `list` with full paths. */
export function listPaths(files: FileSystem, directory: string): string[] {
  return files.list(directory).map(name => join(directory, name))
}
