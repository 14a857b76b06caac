import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Child, endChildren, TemporaryDirectory, Thread } from './children.test.helper.js'
import { futexWait, futexWake } from './futex.js'
import { GrowableMapping } from './shared-memory.js'

afterEach(endChildren)

let directory: TemporaryDirectory
let mapping: GrowableMapping
let words: Int32Array

beforeEach(() => {
  directory = new TemporaryDirectory('/dev/shm')
  mapping = GrowableMapping.create(directory.file('region'), 4096)
  mapping.grow(4096)
  words = new Int32Array(mapping.view)
})

afterEach(() => {
  mapping.close()
  directory[Symbol.dispose]()
})

const WAIT = `
const { GrowableMapping } = await load('os/shared-memory.js')
const { futexWait } = await load('os/futex.js')
const [path, timeout] = typeof workerData === 'undefined' ? process.argv.slice(1) : workerData
const mapping = GrowableMapping.open(path, 4096)
mapping.follow(4096)
globalThis.mapping = mapping
const words = new Int32Array(mapping.view)
say('ready')
Atomics.store(words, 2, 1)
const start = performance.now()
const woken = futexWait(mapping.address + 4, 0, Number(timeout))
const waited = performance.now() - start
say(woken + ' ' + waited)
`

async function whenAsleep(): Promise<void> {
  while (Atomics.load(words, 2) === 0) await new Promise(resolve => setTimeout(resolve, 1))
  await new Promise(resolve => setTimeout(resolve, 60))
}

/** Wakes until somebody was there: the sleeper says that it will sleep before it does. */
async function wakeOne(): Promise<number> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const woken = futexWake(mapping.address + 4, 1)
    if (woken > 0) return woken
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  return 0
}

describe('futex', () => {
  it('wakes a sleeper in another process', async () => {
    const child = new Child(WAIT, mapping.path, '10000')
    await child.next()
    await whenAsleep()
    Atomics.store(words, 1, 1)
    expect(await wakeOne()).toBe(1)
    const [woken, waited] = (await child.next()).split(' ')
    expect(woken).toBe('true')
    expect(Number(waited)).toBeLessThan(5000)
    await child.exited
  })

  it('wakes a sleeper in another thread', async () => {
    const thread = new Thread(WAIT, mapping.path, '10000')
    await thread.next()
    await whenAsleep()
    expect(await wakeOne()).toBe(1)
    expect((await thread.next()).startsWith('true')).toBe(true)
    await thread.worker.terminate()
  })

  it('returns at once when the word has changed before, and false when the time is over', () => {
    words[1] = 5
    expect(futexWait(mapping.address + 4, 4, 10_000)).toBe(true)
    const start = performance.now()
    expect(futexWait(mapping.address + 4, 5, 30)).toBe(false)
    expect(performance.now() - start).toBeGreaterThanOrEqual(29)
    expect(futexWait(mapping.address + 4, 5, 0)).toBe(false)
    expect(futexWake(mapping.address + 4, 10)).toBe(0)
  })

  it('is not cut short or prolonged by signals and stops', async () => {
    const child = new Child(`process.on('SIGUSR2', () => {})\n${WAIT}`, mapping.path, '400')
    await child.next()
    await whenAsleep()
    for (let i = 0; i < 10; i++) {
      await child.kill('SIGUSR2')
      await child.kill('SIGSTOP')
      await child.kill('SIGCONT')
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    const [woken, waited] = (await child.next()).split(' ')
    expect(woken).toBe('false')
    expect(Number(waited)).toBeGreaterThanOrEqual(399)
    expect(Number(waited)).toBeLessThan(2000)
  })

  it('insists on a bound', () => {
    expect(() => futexWait(mapping.address, 0, Number.POSITIVE_INFINITY)).toThrow('bounded')
  })
})
