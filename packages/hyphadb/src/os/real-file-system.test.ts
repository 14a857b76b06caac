import { statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { KIB, MIB } from '../base/limits.js'
import { TemporaryDirectory } from './children.test.helper.js'
import { listPaths, readWholeFile, replaceWholeFile } from './file-system.js'
import { realFileSystem as files } from './real-file-system.js'

function codeOf(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return (error as { code?: unknown }).code
  }
  return 'no error'
}

describe('a file', () => {
  it('reads and writes at positions, into parts of a buffer, in both ways', async () => {
    using directory = new TemporaryDirectory()
    const file = files.open(directory.file('data'), { create: 'exclusive' })
    const text = Buffer.from('..hello world..')
    file.write(text, 2, 5, 10)
    await file.writeAsync(text, 8, 5, 15)
    file.sync()
    await file.syncAsync()
    const read = Buffer.alloc(30, 0x2d)
    expect(file.read(read, 3, 20, 10)).toBe(10)
    expect(read.toString('latin1', 0, 14)).toBe('---helloworld-')
    expect(await file.readAsync(read, 0, 4, 8)).toBe(4)
    expect([...read.subarray(0, 4)]).toEqual([0, 0, 0x68, 0x65])
    expect(file.read(read, 0, 5, 100)).toBe(0)
    expect(file.size()).toBe(20)
    file.truncate(12)
    expect(file.size()).toBe(12)
    file.close()
    file.close()
  })

  it('is allocated ahead and given back in parts', () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const file = files.open(directory.file('data'), { create: 'missing' })
    file.allocate(0, MIB)
    expect(file.size()).toBe(MIB)
    file.write(Buffer.alloc(64 * KIB, 1), 0, 64 * KIB, 0)
    const before = statSync(file.path).blocks
    expect(file.punchHole(0, 32 * KIB)).toBe(true)
    expect(statSync(file.path).blocks).toBeLessThan(before)
    const page = Buffer.alloc(2)
    file.read(page, 0, 1, 32 * KIB - 1)
    file.read(page, 1, 1, 32 * KIB)
    expect([...page]).toEqual([0, 1])
    expect(file.size()).toBe(MIB)
    file.close()
  })

  it('belongs to its owner alone', () => {
    using directory = new TemporaryDirectory()
    files.makeDirectory(directory.file('a/b'))
    files.open(directory.file('a/b/data'), { create: 'exclusive' }).close()
    expect(statSync(directory.file('a')).mode & 0o777).toBe(0o700)
    expect(statSync(directory.file('a/b/data')).mode & 0o777).toBe(0o600)
  })

  it('fails with a code that says what to do', async () => {
    using directory = new TemporaryDirectory()
    const path = directory.file('data')
    expect(codeOf(() => files.open(path))).toBe('HYPHA_NOT_FOUND')
    files.open(path, { create: 'exclusive' }).close()
    expect(codeOf(() => files.open(path, { create: 'exclusive' }))).toBe('HYPHA_INVALID')
    expect(codeOf(() => files.open(`${path}/below`))).toBe('HYPHA_INVALID')
    expect(codeOf(() => files.open(directory.path))).toBe('HYPHA_INVALID')
    const reader = files.open(path, { readOnly: true })
    expect(codeOf(() => reader.write(Buffer.from('x'), 0, 1, 0))).toBe('HYPHA_IO')
    await expect(reader.writeAsync(Buffer.from('x'), 0, 1, 0)).rejects.toMatchObject({ code: 'HYPHA_IO' })
    reader.close()
    expect(codeOf(() => reader.read(Buffer.alloc(1), 0, 1, 0))).toBe('HYPHA_CLOSED')
    await expect(reader.readAsync(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject({ code: 'HYPHA_CLOSED' })
    expect(codeOf(() => reader.syncAsync())).toBe('HYPHA_CLOSED')
  })

  it('says HYPHA_DISK_FULL when the disk is, for writes and for allocations', async context => {
    using small = TemporaryDirectory.small(MIB)
    if (small === undefined) return context.skip()
    expect(files.freeBytes(small.path)).toBe(MIB)
    const file = files.open(small.file('data'), { create: 'missing' })
    const much = Buffer.alloc(2 * MIB, 7)
    expect(codeOf(() => file.allocate(0, 2 * MIB))).toBe('HYPHA_DISK_FULL')
    expect(codeOf(() => file.write(much, 0, much.length, 0))).toBe('HYPHA_DISK_FULL')
    await expect(file.writeAsync(much, 0, much.length, 0)).rejects.toMatchObject({ code: 'HYPHA_DISK_FULL' })
    file.truncate(0)
    file.write(much, 0, 1000, 0)
    file.close()
  })
})

describe('a directory', () => {
  it('lists, renames, removes, and knows what is there', () => {
    using directory = new TemporaryDirectory()
    for (const name of ['b', 'a', 'c']) files.open(directory.file(name), { create: 'missing' }).close()
    expect(files.list(directory.path)).toEqual(['a', 'b', 'c'])
    expect(listPaths(files, directory.path)[0]).toBe(directory.file('a'))
    const identity = files.identity(directory.file('a'))
    files.rename(directory.file('a'), directory.file('b'))
    expect(files.identity(directory.file('b'))).toEqual(identity)
    files.unlink(directory.file('b'))
    files.unlink(directory.file('b'))
    files.syncDirectory(directory.path)
    expect([files.exists(directory.file('b')), files.exists(directory.file('c'))]).toEqual([false, true])
    expect(codeOf(() => files.rename(directory.file('none'), directory.file('x')))).toBe('HYPHA_NOT_FOUND')
    expect(codeOf(() => files.list(directory.file('none')))).toBe('HYPHA_NOT_FOUND')
    expect(codeOf(() => files.syncDirectory(directory.file('none')))).toBe('HYPHA_NOT_FOUND')
    expect(codeOf(() => files.identity(directory.file('none')))).toBe('HYPHA_NOT_FOUND')
    expect(codeOf(() => files.freeBytes(directory.file('none')))).toBe('HYPHA_NOT_FOUND')
  })

  it('has small files replaced whole', () => {
    using directory = new TemporaryDirectory()
    const path = directory.file('region')
    expect(readWholeFile(files, path)).toBeUndefined()
    replaceWholeFile(files, path, Buffer.from('one'))
    files.open(`${path}.new`, { create: 'missing' }).close()
    replaceWholeFile(files, path, Buffer.from('second'))
    expect(readWholeFile(files, path)?.toString()).toBe('second')
    expect(files.list(directory.path)).toEqual(['region'])
  })
})
