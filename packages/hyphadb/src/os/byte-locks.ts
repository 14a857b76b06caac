/**
 * Locks on single bytes of a file that the kernel drops when their holder dies, whatever the cause: how participants know
 * who is alive. Open-file-description locks of fcntl(2): they belong to the opened file, not to the process, so two
 * threads of one process exclude each other like two processes do.
 *
 * Invariants
 * 1. The descriptor comes from fs.openSync in the thread that uses it: Node closes it when the worker is terminated. One
 *    opened through libc would keep a dead worker's lock.
 * 2. The descriptor is never duplicated, mapped or passed on: any of that would keep the lock beyond its holder.
 * 3. Closing happens in the thread that opened.
 *
 * struct flock, 32 bytes
 * | byte | type | what |
 * |---|---|---|
 * | 0 | int16 | type: 0 read, 1 write, 2 unlock |
 * | 2 | int16 | whence: 0, from the start |
 * | 8 | int64 | first byte |
 * | 16 | int64 | length: always 1 |
 * | 24 | int32 | pid: must be 0 |
 */
import { closeSync, constants, fstatSync, openSync, statfsSync } from 'node:fs'
import { assert } from '../base/assert.js'
import { fromErrno, HyphaError } from '../base/errors.js'
import { randomWord } from '../base/random.js'
import { type FileIdentity, identityOf } from './file-system.js'
import { F_OFD_GETLK, F_OFD_SETLK, fcntlLock, lastErrno } from './libc.js'

const WRITE_LOCK = 1
const UNLOCK = 2
const EACCES = 13
const EAGAIN = 11
const EINTR = 4

const TWO_POW_32 = 0x1_0000_0000

/** The self-test locks random bytes far behind every participant's. */
const SELF_TEST_FIRST_BYTE = 2 ** 40

const flock = new Int32Array(8)
const flockBytes = new Uint8Array(flock.buffer)

function describe(type: number, byte: number): void {
  flock.fill(0)
  flock[0] = type
  flock[2] = byte >>> 0
  flock[3] = Math.floor(byte / TWO_POW_32)
  flock[4] = 1
}

export class ByteLockFile {
  readonly path: string
  readonly identity: FileIdentity
  #fd: number

  /** Opens the file, creating it (0600) when it is missing. */
  constructor(path: string, options: { create?: boolean } = {}) {
    this.path = path
    const flags = constants.O_RDWR | (options.create === false ? 0 : constants.O_CREAT)
    try {
      this.#fd = openSync(path, flags, 0o600)
      this.identity = identityOf(fstatSync(this.#fd))
    } catch (error) {
      throw fromErrno(error, 'open the lock file', path)
    }
  }

  /** Takes the byte if nobody else holds it; true as well when this file object holds it already. Never waits. */
  tryLock(byte: number): boolean {
    describe(WRITE_LOCK, this.#checked(byte))
    for (;;) {
      if (fcntlLock(this.#openFd(), F_OFD_SETLK, flockBytes) === 0) return true
      const errno = lastErrno()
      if (errno === EAGAIN || errno === EACCES) return false
      if (errno !== EINTR) throw fromErrno(errno, `lock byte ${byte} of`, this.path)
    }
  }

  unlock(byte: number): void {
    describe(UNLOCK, this.#checked(byte))
    if (fcntlLock(this.#openFd(), F_OFD_SETLK, flockBytes) !== 0)
      throw fromErrno(lastErrno(), `unlock byte ${byte} of`, this.path)
  }

  /** True when somebody else (another process, or another opening of the file) holds the byte. Own locks do not count. */
  isLockedByOther(byte: number): boolean {
    describe(WRITE_LOCK, this.#checked(byte))
    if (fcntlLock(this.#openFd(), F_OFD_GETLK, flockBytes) !== 0)
      throw fromErrno(lastErrno(), `look at byte ${byte} of`, this.path)
    return (flock[0]! & 0xffff) !== UNLOCK
  }

  /**
   * The first byte in [from, to) that somebody else holds, or -1. The kernel answers for the whole range at once.
   */
  firstLockedByOther(from: number, to: number): number {
    describe(WRITE_LOCK, this.#checked(from))
    flock[4] = to - from
    if (fcntlLock(this.#openFd(), F_OFD_GETLK, flockBytes) !== 0)
      throw fromErrno(lastErrno(), 'look at the locks of', this.path)
    if ((flock[0]! & 0xffff) === UNLOCK) return -1
    const start = flock[3]! * TWO_POW_32 + (flock[2]! >>> 0)
    return Math.max(start, from)
  }

  /**
   * Proves that locks work here: a second opening of the file must conflict. Some network and user-space file systems
   * accept locks and forget them.
   */
  selfTest(): void {
    const second = new ByteLockFile(this.path, { create: false })
    try {
      // Another process may be testing at the same moment: a byte at random, and a few tries.
      for (let attempt = 0; attempt < 5; attempt++) {
        const byte = SELF_TEST_FIRST_BYTE + randomWord()
        if (!this.tryLock(byte)) continue
        const conflicts = !second.tryLock(byte) && second.isLockedByOther(byte)
        this.unlock(byte)
        if (conflicts && second.tryLock(byte)) return
        break
      }
    } finally {
      second.close()
    }
    throw new HyphaError('HYPHA_UNSUPPORTED', `Locks do not hold on ${this.path}: put the database on a local disk`)
  }

  /** Closes the file, which drops every lock taken through it. */
  close(): void {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    closeSync(fd)
  }

  #checked(byte: number): number {
    assert(Number.isSafeInteger(byte) && byte >= 0, 'a lock names a byte')
    return byte
  }

  #openFd(): number {
    if (this.#fd < 0) throw new HyphaError('HYPHA_CLOSED', `The lock file ${this.path} has been closed`)
    return this.#fd
  }
}

/** File systems whose locks or mappings do not reach everybody who can open the files: statfs(2) magic numbers. */
const refusedFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x65735546, 'FUSE'],
  [0x01021997, '9p'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB 2'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x73757245, 'Coda'],
])

/** The name of the file system when its type is one that cannot carry a database, else undefined. */
export function refusedFileSystemName(type: number): string | undefined {
  return refusedFileSystems.get(type >>> 0)
}

/** Throws HYPHA_UNSUPPORTED when `directory` is on a file system that cannot carry a database. */
export function refuseRemoteFileSystem(directory: string): void {
  let type: number
  try {
    type = statfsSync(directory).type
  } catch (error) {
    throw fromErrno(error, 'look at the file system of', directory)
  }
  const name = refusedFileSystemName(type)
  if (name !== undefined) {
    throw new HyphaError(
      'HYPHA_UNSUPPORTED',
      `${directory} is on ${name}, where locks and shared memory do not reach every process: use a local disk`,
    )
  }
}
