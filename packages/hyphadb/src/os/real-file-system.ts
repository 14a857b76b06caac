/** The FileSystem of the machine, over node:fs. Synchronous reads and writes allocate nothing. */
import * as fs from 'node:fs'
import { assert } from '../base/assert.js'
import { fromErrno, HyphaError } from '../base/errors.js'
import { type FileHandle, type FileIdentity, type FileSystem, identityOf, type OpenOptions } from './file-system.js'
import { allocate, punchHole } from './shared-memory.js'

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700

class RealFile implements FileHandle {
  readonly path: string
  #fd: number

  constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
  }

  read(buffer: Uint8Array, offset: number, length: number, position: number): number {
    const fd = this.#openFd()
    let done = 0
    try {
      while (done < length) {
        const count = fs.readSync(fd, buffer, offset + done, length - done, position + done)
        if (count === 0) break
        done += count
      }
    } catch (error) {
      throw fromErrno(error, `read at ${position} of`, this.path)
    }
    return done
  }

  async readAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    let done = 0
    while (done < length) {
      const count = await this.#readSome(buffer, offset + done, length - done, position + done)
      if (count === 0) break
      done += count
    }
    return done
  }

  write(buffer: Uint8Array, offset: number, length: number, position: number): void {
    const fd = this.#openFd()
    let done = 0
    try {
      while (done < length) done += fs.writeSync(fd, buffer, offset + done, length - done, position + done)
    } catch (error) {
      throw fromErrno(error, `write at ${position} of`, this.path)
    }
  }

  async writeAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<void> {
    let done = 0
    while (done < length) done += await this.#writeSome(buffer, offset + done, length - done, position + done)
  }

  sync(): void {
    try {
      fs.fdatasyncSync(this.#openFd())
    } catch (error) {
      throw fromErrno(error, 'sync', this.path)
    }
  }

  syncAsync(): Promise<void> {
    const fd = this.#openFd()
    return new Promise((resolve, reject) => {
      fs.fdatasync(fd, error => {
        if (error) reject(fromErrno(error, 'sync', this.path))
        else resolve()
      })
    })
  }

  allocate(position: number, length: number): void {
    allocate(this.#openFd(), position, length, 'disk', this.path)
  }

  punchHole(position: number, length: number): boolean {
    return punchHole(this.#openFd(), position, length, this.path)
  }

  truncate(size: number): void {
    try {
      fs.ftruncateSync(this.#openFd(), size)
    } catch (error) {
      throw fromErrno(error, `set the size of`, this.path)
    }
  }

  size(): number {
    return this.#stat().size
  }

  identity(): FileIdentity {
    return identityOf(this.#stat())
  }

  close(): void {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    try {
      fs.closeSync(fd)
    } catch (error) {
      throw fromErrno(error, 'close', this.path)
    }
  }

  #readSome(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    const fd = this.#openFd()
    return new Promise((resolve, reject) => {
      fs.read(fd, buffer, offset, length, position, (error, count) => {
        if (error) reject(fromErrno(error, `read at ${position} of`, this.path))
        else resolve(count)
      })
    })
  }

  #writeSome(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    const fd = this.#openFd()
    return new Promise((resolve, reject) => {
      fs.write(fd, buffer, offset, length, position, (error, count) => {
        if (error) reject(fromErrno(error, `write at ${position} of`, this.path))
        else resolve(count)
      })
    })
  }

  #stat(): fs.Stats {
    try {
      return fs.fstatSync(this.#openFd())
    } catch (error) {
      throw fromErrno(error, 'look at', this.path)
    }
  }

  #openFd(): number {
    if (this.#fd < 0) throw new HyphaError('HYPHA_CLOSED', `${this.path} has been closed`)
    return this.#fd
  }
}

function openFlags(options: OpenOptions): number {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECT } = fs.constants
  const create = options.create ?? 'never'
  assert(create === 'never' || options.readOnly !== true, 'what is created is written')
  let flags = options.readOnly === true ? O_RDONLY : O_RDWR
  if (create !== 'never') flags |= O_CREAT
  if (create === 'exclusive') flags |= O_EXCL
  if (options.direct === true) flags |= O_DIRECT
  return flags
}

class RealFileSystem implements FileSystem {
  open(path: string, options: OpenOptions = {}): FileHandle {
    try {
      return new RealFile(path, fs.openSync(path, openFlags(options), FILE_MODE))
    } catch (error) {
      throw fromErrno(error, 'open', path)
    }
  }

  makeDirectory(path: string): void {
    try {
      fs.mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE })
    } catch (error) {
      throw fromErrno(error, 'create the directory', path)
    }
  }

  list(path: string): string[] {
    try {
      return fs.readdirSync(path).sort()
    } catch (error) {
      throw fromErrno(error, 'list', path)
    }
  }

  rename(from: string, to: string): void {
    try {
      fs.renameSync(from, to)
    } catch (error) {
      throw fromErrno(error, `rename ${from} to`, to)
    }
  }

  unlink(path: string): void {
    try {
      fs.unlinkSync(path)
    } catch (error) {
      const failure = fromErrno(error, 'remove', path)
      if (failure.code !== 'HYPHA_NOT_FOUND') throw failure
    }
  }

  syncDirectory(path: string): void {
    try {
      const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
      try {
        fs.fsyncSync(fd)
      } finally {
        fs.closeSync(fd)
      }
    } catch (error) {
      throw fromErrno(error, 'sync the directory', path)
    }
  }

  exists(path: string): boolean {
    try {
      fs.statSync(path)
      return true
    } catch (error) {
      const failure = fromErrno(error, 'look at', path)
      if (failure.code === 'HYPHA_NOT_FOUND') return false
      throw failure
    }
  }

  identity(path: string): FileIdentity {
    try {
      return identityOf(fs.statSync(path))
    } catch (error) {
      throw fromErrno(error, 'look at', path)
    }
  }

  freeBytes(path: string): number {
    try {
      const { bavail, bsize } = fs.statfsSync(path)
      return bavail * bsize
    } catch (error) {
      throw fromErrno(error, 'look at the file system of', path)
    }
  }
}

export const realFileSystem: FileSystem = new RealFileSystem()
