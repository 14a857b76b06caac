import { truncateSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { MIB } from '../base/limits.js'
import { Child, endChildren, TemporaryDirectory, Thread } from './children.test.helper.js'
import { realFileSystem } from './real-file-system.js'
import { GrowableMapping, mapFile, replaceWithZeros, reserve, viewOf } from './shared-memory.js'

afterEach(endChildren)

const MAX = 64 * MIB
const open: GrowableMapping[] = []

function kept(mapping: GrowableMapping): GrowableMapping {
  open.push(mapping)
  return mapping
}

afterEach(() => {
  for (const mapping of open.splice(0)) {
    mapping.unlink()
    mapping.close()
  }
})

const FOLLOW = `
const { GrowableMapping } = await load('os/shared-memory.js')
const [path, max] = typeof workerData === 'undefined' ? process.argv.slice(1) : workerData
const mapping = GrowableMapping.open(path, Number(max))
globalThis.mapping = mapping
const words = new Int32Array(mapping.view)
`

describe('GrowableMapping', () => {
  it('is the same memory in two processes, exact under concurrent atomics, and grows under both', async () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const mapping = kept(GrowableMapping.create(directory.file('region'), MAX))
    const words = new Int32Array(mapping.view)
    mapping.grow(MIB)
    const child = new Child(
      `${FOLLOW}
      mapping.follow(${MIB})
      say('ready')
      await heard()
      for (let i = 0; i < 300000; i++) Atomics.add(words, 1, 1)
      say('added')
      mapping.follow(Number(await heard()))
      words[(2 * ${MIB}) / 4] = 77
      say(String(words[(3 * ${MIB}) / 4 - 1]))
      process.stdin.destroy()`,
      mapping.path,
      String(MAX),
    )
    expect(await child.next()).toBe('ready')
    child.tell('go')
    for (let i = 0; i < 300_000; i++) Atomics.add(words, 1, 1)
    expect(await child.next()).toBe('added')
    expect(Atomics.load(words, 1)).toBe(600_000)
    mapping.grow(3 * MIB)
    words[(3 * MIB) / 4 - 1] = 55
    child.tell(String(3 * MIB))
    expect(await child.next()).toBe('55')
    expect(words[(2 * MIB) / 4]).toBe(77)
    expect(await child.exited).toEqual({ code: 0, signal: null })
  })

  it('survives a process that is killed while it has it mapped', async () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const mapping = kept(GrowableMapping.create(directory.file('region'), MAX))
    mapping.grow(MIB)
    const child = new Child(
      `${FOLLOW}; mapping.follow(${MIB}); words[9] = 99; say('stored'); await heard()`,
      mapping.path,
      String(MAX),
    )
    await child.next()
    await child.kill()
    expect(new Int32Array(mapping.view)[9]).toBe(99)
  })

  it('reads as zeros where nothing is mapped yet', () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const mapping = kept(GrowableMapping.create(directory.file('region'), MAX))
    const words = new Int32Array(mapping.view)
    expect(mapping.view.byteLength).toBe(MAX)
    expect([words[0], words[MAX / 4 - 1]]).toEqual([0, 0])
    mapping.grow(MIB)
    expect([mapping.mappedBytes, mapping.fileBytes(), words[MIB / 4]]).toEqual([MIB, MIB, 0])
    mapping.grow(4096)
    expect(mapping.mappedBytes).toBe(MIB)
  })

  it('is created once, private to its owner, and knows when its name is gone', () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const path = directory.file('region')
    const mapping = kept(GrowableMapping.create(path, MAX))
    expect(() => GrowableMapping.create(path, MAX)).toThrow('exists already')
    expect(mapping.nameStands()).toBe(true)
    mapping.unlink()
    mapping.unlink()
    expect(mapping.nameStands()).toBe(false)
    const successor = kept(GrowableMapping.create(path, MAX))
    expect(mapping.nameStands()).toBe(false)
    expect(successor.nameStands()).toBe(true)
    mapping.grow(MIB)
    new Int32Array(mapping.view)[0] = 1
    successor.grow(MIB)
    expect(new Int32Array(successor.view)[0]).toBe(0)
    expect(() => GrowableMapping.open(directory.file('missing'), MAX)).toThrow('no such file')
  })

  it('leaves views usable after closing: loads give zeros, stores go nowhere, others keep their memory', () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const mapping = kept(GrowableMapping.create(directory.file('region'), MAX))
    const other = kept(GrowableMapping.open(mapping.path, MAX))
    mapping.grow(MIB)
    other.follow(MIB)
    const words = new Int32Array(mapping.view)
    words[5] = 5
    mapping.close()
    mapping.close()
    expect(words[5]).toBe(0)
    words[5] = 6
    expect(new Int32Array(other.view)[5]).toBe(5)
    expect(() => mapping.grow(2 * MIB)).toThrow('closed')
  })

  it('refuses to follow beyond the end of the file instead of dying of SIGBUS', () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const mapping = kept(GrowableMapping.create(directory.file('region'), MAX))
    mapping.grow(MIB)
    const other = kept(GrowableMapping.open(mapping.path, MAX))
    expect(() => other.follow(2 * MIB)).toThrow('shortened')
    truncateSync(mapping.path, 4096)
    expect(() => other.follow(MIB)).toThrow('shortened')
  })

  it('says HYPHA_SHM_FULL when there is no room, and is as before', context => {
    using small = TemporaryDirectory.small(4 * MIB)
    if (small === undefined) return context.skip()
    const mapping = kept(GrowableMapping.create(small.file('region'), MAX))
    mapping.grow(2 * MIB)
    new Int32Array(mapping.view)[MIB / 4] = 3
    let code: unknown
    try {
      mapping.grow(8 * MIB)
    } catch (error) {
      code = (error as { code?: unknown }).code
      expect(String(error)).toContain('--shm-size')
    }
    expect(code).toBe('HYPHA_SHM_FULL')
    expect([mapping.mappedBytes, mapping.fileBytes()]).toEqual([2 * MIB, 2 * MIB])
    mapping.grow(3 * MIB)
    // Every byte that was mapped has memory behind it.
    new Uint8Array(mapping.view).fill(1, 0, 3 * MIB)
    expect(new Int32Array(mapping.view)[MIB / 4]).toBe(0x01010101)
  })

  it('goes on after a worker that had it mapped is terminated', async () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const mapping = kept(GrowableMapping.create(directory.file('region'), MAX))
    mapping.grow(MIB)
    const words = new Int32Array(mapping.view)
    const thread = new Thread(
      `${FOLLOW}; mapping.follow(${MIB}); say('on'); for (;;) Atomics.add(words, 2, 1)`,
      mapping.path,
      String(MAX),
    )
    await thread.next()
    await thread.worker.terminate()
    const reached = Atomics.load(words, 2)
    expect(Atomics.add(words, 2, 1)).toBe(reached)
  })
})

describe('mappings by hand', () => {
  it('places parts of a file at chosen addresses and gives memory back in place', () => {
    using directory = new TemporaryDirectory('/dev/shm')
    const file = realFileSystem.open(directory.file('file'), { create: 'exclusive' })
    file.allocate(0, 8192)
    const address = reserve(16384)
    const view = new Uint8Array(viewOf(address, 16384))
    const mapping = GrowableMapping.open(directory.file('file'), 8192)
    mapping.follow(8192)
    new Uint8Array(mapping.view)[4096] = 42
    expect(view[8192]).toBe(0)
    replaceWithZeros(address, 16384)
    view[0] = 1
    expect(view[0]).toBe(1)
    expect(() => reserve(100)).toThrow('whole number')
    expect(() => mapFile(0, 1, 4096)).toThrow('begins at a system page')
    expect(() => mapFile(-1, 0, 4096)).toThrow('EBADF')
    mapping.close()
    file.close()
  })
})
