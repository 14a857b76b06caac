import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Child, endChildren, eventually, TemporaryDirectory, Thread } from './children.test.helper.js'
import { Sleeper, Waker, wakeFifo } from './sleeper.js'

afterEach(endChildren)

const SLEEP = `
const { Sleeper } = await load('os/sleeper.js')
const [path] = typeof workerData === 'undefined' ? process.argv.slice(1) : workerData
const sleeper = new Sleeper(path)
globalThis.sleeper = sleeper
say('ready')
`

/** Descriptors of this process on `path`. */
function openDescriptors(path: string): number {
  return readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path)
    } catch {
      return false
    }
  }).length
}

describe('Sleeper', () => {
  it('is woken by another process, again and again', async () => {
    using directory = new TemporaryDirectory()
    const path = directory.file('fifo')
    const child = new Child(`${SLEEP}; for (let i = 0; i < 3; i++) say(String(await sleeper.wait(10000)))`, path)
    await child.next()
    const waker = new Waker(path)
    for (let i = 0; i < 3; i++) {
      expect(waker.wake()).toBe(true)
      expect(await child.next()).toBe('true')
    }
    await child.exited
    expect(waker.wake()).toBe(false)
    waker.close()
  })

  it('wakes every wait of its thread, and answers false when the time is over', async () => {
    using directory = new TemporaryDirectory()
    const sleeper = new Sleeper(directory.file('fifo'))
    const waits = [sleeper.wait(5000), sleeper.wait(5000)]
    expect(wakeFifo(sleeper.path)).toBe(true)
    expect(await Promise.all(waits)).toEqual([true, true])
    const start = performance.now()
    expect(await sleeper.wait(20)).toBe(false)
    expect(performance.now() - start).toBeGreaterThan(15)
    sleeper.close()
  })

  it('loses no wake that comes before the wait', async () => {
    using directory = new TemporaryDirectory()
    const sleeper = new Sleeper(directory.file('fifo'))
    wakeFifo(sleeper.path)
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(await sleeper.wait(5000)).toBe(true)
    expect(await sleeper.wait(10)).toBe(false)
    sleeper.close()
  })

  it('takes more wakes than a FIFO holds without blocking the writer', async () => {
    using directory = new TemporaryDirectory()
    const sleeper = new Sleeper(directory.file('fifo'))
    const waker = new Waker(sleeper.path)
    let refused = 0
    for (let i = 0; i < 70_000; i++) if (!waker.wake()) refused++
    expect(refused).toBe(0)
    expect(await sleeper.wait(5000)).toBe(true)
    waker.close()
    sleeper.close()
  })

  it('is known to be gone when its owner was killed, and its path can be taken over', async () => {
    using directory = new TemporaryDirectory()
    const path = directory.file('fifo')
    const child = new Child(`${SLEEP}; await sleeper.wait(60000)`, path)
    await child.next()
    const kept = new Waker(path)
    expect(kept.wake()).toBe(true)
    await child.kill()
    expect(kept.wake()).toBe(false)
    expect(wakeFifo(path)).toBe(false)
    const successor = new Sleeper(path)
    const wait = successor.wait(5000)
    expect(kept.wake()).toBe(true)
    expect(await wait).toBe(true)
    kept.close()
    successor.close()
    expect(wakeFifo(path)).toBe(false)
  })

  it('ends its waits when it is closed, and refuses new ones', async () => {
    using directory = new TemporaryDirectory()
    const sleeper = new Sleeper(directory.file('fifo'))
    const wait = sleeper.wait(60_000)
    sleeper.close()
    sleeper.close()
    expect(await wait).toBe(true)
    expect(() => sleeper.wait(1)).toThrow('closed')
  })

  it('keeps a process running while something waits, and not otherwise', async () => {
    using directory = new TemporaryDirectory()
    const idle = new Child(SLEEP, directory.file('idle'))
    expect(await idle.exited).toEqual({ code: 0, signal: null })
    const background = new Child(`${SLEEP}; void sleeper.wait(60000, true)`, directory.file('background'))
    expect(await background.exited).toEqual({ code: 0, signal: null })
    const waiting = new Child(`${SLEEP}; say(String(await sleeper.wait(10000)))`, directory.file('waiting'))
    await waiting.next()
    await new Promise(resolve => setTimeout(resolve, 100))
    expect(wakeFifo(directory.file('waiting'))).toBe(true)
    expect(await waiting.next()).toBe('true')
  })

  it('leaves no descriptor behind when its worker is terminated', async () => {
    using directory = new TemporaryDirectory()
    const path = directory.file('fifo')
    const thread = new Thread(`${SLEEP}; await sleeper.wait(60000)`, path)
    await thread.next()
    expect(openDescriptors(path)).toBe(1)
    await thread.worker.terminate()
    expect(await eventually(() => openDescriptors(path) === 0)).toBe(true)
    expect(wakeFifo(path)).toBe(false)
  })

  it('closed in a worker, does not take a file with it that got its number, when the worker is terminated', async () => {
    using directory = new TemporaryDirectory()
    const path = directory.file('fifo')
    const thread = new Thread(`${SLEEP}; await heard(); sleeper.close(); await heard()`, path)
    await thread.next()
    thread.tell('close')
    expect(await eventually(() => openDescriptors(path) === 0)).toBe(true)
    // The lowest free numbers are given out first: the FIFO's is among these.
    const files = Array.from({ length: 20 }, (_, i) => openSync(directory.file(`file-${i}`), 'w'))
    await thread.worker.terminate()
    for (const fd of files) expect(() => closeSync(fd)).not.toThrow()
  })
})
