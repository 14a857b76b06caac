import { afterEach, describe, expect, it } from 'vitest'
import { ByteLockFile, refusedFileSystemName, refuseRemoteFileSystem } from './byte-locks.js'
import { Child, endChildren, eventually, TemporaryDirectory, Thread } from './children.test.helper.js'

afterEach(endChildren)

const HOLD = `
const { ByteLockFile } = await load('os/byte-locks.js')
const [path, byte] = typeof workerData === 'undefined' ? process.argv.slice(1) : workerData
globalThis.locks = new ByteLockFile(path)
say(String(globalThis.locks.tryLock(Number(byte))))
`

describe('ByteLockFile', () => {
  it('excludes another opening of the same file in the same process, byte by byte', () => {
    using directory = new TemporaryDirectory()
    const first = new ByteLockFile(directory.file('attach'))
    const second = new ByteLockFile(directory.file('attach'))
    expect(first.tryLock(3)).toBe(true)
    expect(first.tryLock(3)).toBe(true)
    expect(second.tryLock(3)).toBe(false)
    expect(second.tryLock(4)).toBe(true)
    expect(second.isLockedByOther(3)).toBe(true)
    expect(second.isLockedByOther(4)).toBe(false)
    expect(first.isLockedByOther(4)).toBe(true)
    first.unlock(3)
    expect(second.tryLock(3)).toBe(true)
    second.close()
    expect(first.isLockedByOther(3)).toBe(false)
    first.close()
    expect(() => first.tryLock(1)).toThrow('closed')
    expect(first.identity).toEqual(second.identity)
  })

  it('finds the first locked byte of a range in one question', () => {
    using directory = new TemporaryDirectory()
    const mine = new ByteLockFile(directory.file('attach'))
    const other = new ByteLockFile(directory.file('attach'))
    const far = 2 ** 40 + 5
    for (const byte of [7, 900, far]) expect(other.tryLock(byte)).toBe(true)
    expect(mine.firstLockedByOther(0, 1024)).toBe(7)
    expect(mine.firstLockedByOther(8, 900)).toBe(-1)
    expect(mine.firstLockedByOther(8, 901)).toBe(900)
    expect(mine.firstLockedByOther(2 ** 40, 2 ** 40 + 10)).toBe(far)
    expect(mine.isLockedByOther(far - 2 ** 32)).toBe(false)
    mine.close()
    other.close()
  })

  it('drops the lock of a process that is killed, and keeps that of one that is stopped', async () => {
    using directory = new TemporaryDirectory()
    const locks = new ByteLockFile(directory.file('attach'))
    const child = new Child(`${HOLD}; await heard()`, directory.file('attach'), '5')
    expect(await child.next()).toBe('true')
    expect(locks.tryLock(5)).toBe(false)
    await child.kill('SIGSTOP')
    expect(locks.isLockedByOther(5)).toBe(true)
    await child.kill('SIGKILL')
    expect(locks.tryLock(5)).toBe(true)
    locks.close()
  })

  it('drops the lock of a worker that is terminated in the middle of a loop', async () => {
    using directory = new TemporaryDirectory()
    const locks = new ByteLockFile(directory.file('attach'))
    const thread = new Thread(`${HOLD}; for (;;) {}`, directory.file('attach'), '9')
    expect(await thread.next()).toBe('true')
    expect(locks.isLockedByOther(9)).toBe(true)
    await thread.worker.terminate()
    expect(await eventually(() => locks.tryLock(9))).toBe(true)
    locks.close()
  })

  it('does not hand the lock to a child process', async () => {
    using directory = new TemporaryDirectory()
    const locks = new ByteLockFile(directory.file('attach'))
    locks.tryLock(1)
    const child = new Child(`say('up'); await heard()`)
    await child.next()
    locks.close()
    const after = new ByteLockFile(directory.file('attach'))
    expect(after.tryLock(1)).toBe(true)
    after.close()
    await child.kill()
  })

  it('proves that locks conflict here, with others testing at the same time', () => {
    using directory = new TemporaryDirectory()
    const first = new ByteLockFile(directory.file('attach'))
    const second = new ByteLockFile(directory.file('attach'))
    first.tryLock(0)
    expect(() => first.selfTest()).not.toThrow()
    expect(() => second.selfTest()).not.toThrow()
    expect(second.isLockedByOther(0)).toBe(true)
    first.close()
    second.close()
  })

  it('says what is wrong when the file cannot be had', () => {
    using directory = new TemporaryDirectory()
    expect(() => new ByteLockFile(directory.file('attach'), { create: false })).toThrow('no such file')
  })
})

describe('file systems that cannot carry a database', () => {
  it('are known by their numbers, also where those come out negative', () => {
    expect(refusedFileSystemName(0x6969)).toBe('NFS')
    expect(refusedFileSystemName(0x65735546)).toBe('FUSE')
    expect(refusedFileSystemName(0x01021997)).toBe('9p')
    expect(refusedFileSystemName(0xff534d42 | 0)).toBe('CIFS')
    expect(refusedFileSystemName(0xef53)).toBeUndefined()
  })

  it('do not include the local disk', () => {
    using directory = new TemporaryDirectory()
    expect(() => refuseRemoteFileSystem(directory.path)).not.toThrow()
    expect(() => refuseRemoteFileSystem(directory.file('missing'))).toThrow('no such file')
  })
})
