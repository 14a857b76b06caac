/**
 * Memory that several processes map: files in /dev/shm (or anywhere), grown in place.
 *
 * Invariants
 * 1. Nothing is mapped that is not allocated: a hole of a sparse file is SIGBUS on first touch when memory is full, which
 *    nobody can catch; posix_fallocate says ENOSPC instead.
 * 2. Nothing is ever unmapped: a view may outlive its owner, and touching an unmapped address is SIGSEGV. Memory is given
 *    back by putting anonymous zero pages in its place.
 * 3. An address range is reserved once, at its largest, with one ArrayBuffer over all of it; pieces of the file replace
 *    the reservation from below as it grows. What is not mapped yet reads as zeros; a store there is SIGSEGV, so nobody
 *    writes at or beyond `mappedBytes`.
 * 4. `grow` is called by one process at a time (the callers' allocator latch); the others `follow` when they are told.
 */
import { closeSync, constants, fstatSync, openSync, statSync, unlinkSync } from 'node:fs'
import { assert } from '../base/assert.js'
import { fromErrno, HyphaError, type Medium } from '../base/errors.js'
import { MAX_ARENA_BYTES, SYSTEM_PAGE_BYTES } from '../base/limits.js'
import { type FileIdentity, identityOf } from './file-system.js'
import {
  type Address,
  FALLOC_KEEP_SIZE_AND_PUNCH_HOLE,
  fallocate,
  lastErrno,
  MAP_ANONYMOUS,
  MAP_FAILED,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  PROT_READ,
  PROT_WRITE,
  posixFallocate,
  viewOf,
} from './libc.js'

export { type Address, viewOf } from './libc.js'

/** Reserves address space that reads as zeros and takes no memory. */
export function reserve(length: number): Address {
  assert(length > 0 && length % SYSTEM_PAGE_BYTES === 0, 'a reservation is a whole number of system pages')
  const address = mmap(0, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
  if (address === MAP_FAILED) throw fromErrno(lastErrno(), `reserve ${length} bytes of address space`)
  return address
}

export interface MapOptions {
  /** Replaces what is mapped there; else the kernel chooses. */
  at?: Address
}

/** Maps a part of a file for reading and writing, shared with everybody who maps it. The part must be allocated. */
export function mapFile(fd: number, fileOffset: number, length: number, options: MapOptions = {}): Address {
  assert(length > 0 && length % SYSTEM_PAGE_BYTES === 0, 'a mapping is a whole number of system pages')
  assert(fileOffset % SYSTEM_PAGE_BYTES === 0, 'a mapping begins at a system page of its file')
  const flags = options.at === undefined ? MAP_SHARED : MAP_SHARED | MAP_FIXED
  const address = mmap(options.at ?? 0, length, PROT_READ | PROT_WRITE, flags, fd, fileOffset)
  if (address === MAP_FAILED)
    throw fromErrno(lastErrno(), `map ${length} bytes of shared memory`, undefined, 'shared-memory')
  return address
}

/**
 * Puts private zero pages in the place of a mapping: its memory is given back, views stay valid. A straggler's store goes
 * nowhere instead of ending the process; where the kernel promises no writable memory (strict overcommit), read-only.
 */
export function replaceWithZeros(address: Address, length: number): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
  if (mmap(address, length, PROT_READ | PROT_WRITE, flags, -1, 0) !== MAP_FAILED) return
  if (mmap(address, length, PROT_READ, flags, -1, 0) !== MAP_FAILED) return
  throw fromErrno(lastErrno(), 'give back a mapping')
}

/** Allocates a part of a file, extending it where needed; `medium` decides what "no space" means to the caller. */
export function allocate(fd: number, offset: number, length: number, medium: Medium, path?: string): void {
  const errno = allocateOrErrno(fd, offset, length)
  if (errno !== 0) throw fromErrno(errno, `allocate ${length} bytes in`, path, medium)
}

const EINTR = 4

function allocateOrErrno(fd: number, offset: number, length: number): number {
  for (;;) {
    const errno = posixFallocate(fd, offset, length)
    // tmpfs gives up a long allocation when a signal arrives, and undoes what it did.
    if (errno !== EINTR) return errno
  }
}

/**
 * Gives a part of a file back to the file system; it reads as zeros afterwards and the file's size stays. False when the
 * file system cannot.
 */
export function punchHole(fd: number, offset: number, length: number, path?: string): boolean {
  for (;;) {
    if (fallocate(fd, FALLOC_KEEP_SIZE_AND_PUNCH_HOLE, offset, length) === 0) return true
    const errno = lastErrno()
    if (errno === EINTR) continue
    const error = fromErrno(errno, 'give back a part of', path)
    if (error.code === 'HYPHA_UNSUPPORTED') return false
    throw error
  }
}

const FILE_MODE = 0o600

/** A file of shared memory, mapped from its start at a fixed address, that can grow up to a limit fixed at the start. */
export class GrowableMapping {
  readonly path: string
  readonly maxBytes: number
  readonly address: Address
  /** The whole reservation, `maxBytes` long, made once. Bytes at and beyond `mappedBytes` read as zeros. */
  readonly view: ArrayBuffer
  readonly identity: FileIdentity
  #fd: number
  #mappedBytes = 0

  private constructor(path: string, fd: number, maxBytes: number) {
    this.path = path
    this.maxBytes = maxBytes
    this.#fd = fd
    this.identity = identityOf(fstatSync(fd))
    this.address = reserve(maxBytes)
    this.view = viewOf(this.address, maxBytes)
  }

  /** Creates the file, which must not exist, at mode 0600, with nothing in it. */
  static create(path: string, maxBytes: number): GrowableMapping {
    return GrowableMapping.#with(path, maxBytes, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
  }

  /** Opens a file that another process created. Maps nothing yet: `follow` says how far. */
  static open(path: string, maxBytes: number): GrowableMapping {
    return GrowableMapping.#with(path, maxBytes, constants.O_RDWR)
  }

  static #with(path: string, maxBytes: number, flags: number): GrowableMapping {
    assert(maxBytes > 0 && maxBytes <= MAX_ARENA_BYTES, 'a mapping is at most one arena')
    assert(maxBytes % SYSTEM_PAGE_BYTES === 0, 'a mapping is a whole number of system pages')
    let fd: number
    try {
      fd = openSync(path, flags | constants.O_NOFOLLOW, FILE_MODE)
    } catch (error) {
      throw fromErrno(error, 'open shared memory', path, 'shared-memory')
    }
    try {
      return new GrowableMapping(path, fd, maxBytes)
    } catch (error) {
      closeSync(fd)
      throw fromErrno(error, 'map shared memory', path, 'shared-memory')
    }
  }

  /** So many bytes from the start may be read and written here. */
  get mappedBytes(): number {
    return this.#mappedBytes
  }

  /** Allocates up to `toBytes` and maps it. New memory is zero. HYPHA_SHM_FULL leaves everything as it was. */
  grow(toBytes: number): void {
    this.#checkTarget(toBytes)
    if (toBytes <= this.#mappedBytes) return
    allocate(this.#openFd(), this.#mappedBytes, toBytes - this.#mappedBytes, 'shared-memory', this.path)
    this.#mapUpTo(toBytes)
  }

  /** Maps what another process has added, up to `toBytes`. */
  follow(toBytes: number): void {
    this.#checkTarget(toBytes)
    if (toBytes <= this.#mappedBytes) return
    if (this.fileBytes() < toBytes) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `Shared memory ${this.path} is ${this.fileBytes()} bytes long where ${toBytes} were announced: another program has shortened it`,
      )
    }
    this.#mapUpTo(toBytes)
  }

  /** The file's present length, whoever extended it. */
  fileBytes(): number {
    return fstatSync(this.#openFd()).size
  }

  /** False once the file's name is gone or means another file (systemd's RemoveIPC, a cleaner): nobody new can join. */
  nameStands(): boolean {
    try {
      const { device, inode } = identityOf(statSync(this.path))
      return device === this.identity.device && inode === this.identity.inode
    } catch {
      return false
    }
  }

  /** Removes the file's name; the memory lives on until the last mapping is gone. */
  unlink(): void {
    try {
      unlinkSync(this.path)
    } catch (error) {
      const failure = fromErrno(error, 'remove shared memory', this.path)
      if (failure.code !== 'HYPHA_NOT_FOUND') throw failure
    }
  }

  /** Gives the memory back here (not for others); the view stays and reads as zeros. */
  replaceWithZeros(): void {
    replaceWithZeros(this.address, this.maxBytes)
    this.#mappedBytes = 0
  }

  /** Gives memory and descriptor back. Reads of the view give zeros from here on, stores go nowhere. */
  close(): void {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    this.replaceWithZeros()
    closeSync(fd)
  }

  #mapUpTo(toBytes: number): void {
    const from = this.#mappedBytes
    mapFile(this.#openFd(), from, toBytes - from, { at: this.address + from })
    this.#mappedBytes = toBytes
  }

  #checkTarget(toBytes: number): void {
    assert(toBytes % SYSTEM_PAGE_BYTES === 0, 'shared memory grows by system pages')
    assert(toBytes <= this.maxBytes, 'shared memory grows within its reservation')
  }

  #openFd(): number {
    if (this.#fd < 0) throw new HyphaError('HYPHA_CLOSED', `Shared memory ${this.path} has been closed`)
    return this.#fd
  }
}
