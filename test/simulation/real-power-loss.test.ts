/**
 * Power failures on a real file system: ext4 in a file, shut down under a process that writes (FS_IOC_SHUTDOWN without
 * flushing its journal), mounted again. Where file systems may not be mounted, skipped with a word.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, constants, mkdirSync, openSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SeededRandom, testSeed } from 'hyphadb/internal/base/random.js'
import type { HyphaEngine } from 'hyphadb/internal/engine/engine.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import { TemporaryDirectory } from 'hyphadb/internal/os/children.test.helper.js'
import koffi from 'koffi'
import { expect, test } from 'vitest'
import { rowsOf, writerOptions } from './power-loss-writer.js'

const SHUTDOWN = 0x8004587d
const WITHOUT_LOG_FLUSH = 2
const IMAGE_BYTES = 64 << 20
const ROUNDS = 3

/** An ext4 in a file, whose power can be cut. */
class LoopFileSystem implements Disposable {
  readonly #scratch = new TemporaryDirectory()
  readonly path = this.#scratch.file('mounted')
  #mounted = false

  constructor() {
    const image = this.#scratch.file('image')
    writeFileSync(image, '')
    truncateSync(image, IMAGE_BYTES)
    mkdirSync(this.path)
    execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: 'ignore' })
    this.mount()
  }

  mount(): void {
    execFileSync('mount', ['-o', 'loop', this.#scratch.file('image'), this.path], { stdio: 'ignore' })
    this.#mounted = true
  }

  unmount(): void {
    execFileSync('umount', [this.path], { stdio: 'ignore' })
    this.#mounted = false
  }

  /** Nothing that was not synced reaches the image after this. */
  cutPower(): void {
    const ioctl = koffi.load(null).func('int ioctl(int fd, ulong request, uint32_t *argument)')
    const fd = openSync(this.path, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      if (ioctl(fd, SHUTDOWN, new Uint32Array([WITHOUT_LOG_FLUSH])) !== 0)
        throw new Error('the file system did not shut down')
    } finally {
      closeSync(fd)
    }
  }

  [Symbol.dispose](): void {
    if (this.#mounted) execFileSync('umount', ['--lazy', this.path], { stdio: 'ignore' })
    this.#scratch[Symbol.dispose]()
  }
}

/** Starts the writer; `acknowledged` grows as it says so. */
class Writer {
  acknowledged = 0
  readonly #process: ChildProcess
  readonly exited: Promise<void>

  constructor(directory: string, memory: string) {
    const script = fileURLToPath(new URL('./power-loss-writer.js', import.meta.url))
    this.#process = spawn(process.execPath, [script, directory, memory], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    this.#process.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) this.acknowledged = Math.max(this.acknowledged, Number(line))
    })
    this.exited = new Promise(resolve => this.#process.on('close', () => resolve()))
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.exited
  }
}

function expectedRows(last: number): Map<string, Buffer> {
  const rows = new Map<string, Buffer>()
  for (let n = 1; n <= last; n++) {
    for (const { key, value } of rowsOf(n)) {
      if (value === undefined) rows.delete(key)
      else rows.set(key, value)
    }
  }
  return rows
}

function rowsIn(engine: HyphaEngine, name: string): Map<string, Buffer> {
  const rows = new Map<string, Buffer>()
  const cursor = engine.range(engine.openTable(name))
  while (cursor.next()) {
    rows.set(
      cursor.keyBuffer.toString('utf8', 0, cursor.keyLength),
      Buffer.from(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd)),
    )
  }
  cursor.close()
  return rows
}

const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

test('an ext4 whose power is cut again and again keeps every acknowledged transaction, whole', {
  timeout: 120_000,
}, async ({ skip }) => {
  let disk: LoopFileSystem
  try {
    disk = new LoopFileSystem()
  } catch {
    return skip('no ext4 in a file may be mounted here')
  }
  using _disk = disk
  using memories = new TemporaryDirectory()
  const random = new SeededRandom(testSeed())
  const directory = join(disk.path, 'db')
  let before = 0
  for (let round = 0; round < ROUNDS; round++) {
    const memory = memories.file(String(round))
    mkdirSync(memory)
    const writer = new Writer(directory, memory)
    const deadline = performance.now() + 20_000
    while (writer.acknowledged < before + 40 && performance.now() < deadline) await pause(5)
    await pause(random.below(400))
    disk.cutPower()
    await pause(50)
    await writer.kill()
    disk.unmount()
    disk.mount()
    const after = memories.file(`${round}-after`)
    mkdirSync(after)
    const engine = await openEngine(directory, { ...writerOptions, sharedMemoryDirectory: after })
    const left = rowsIn(engine, 'left')
    const last = left.get('last')?.readDoubleLE(0) ?? 0
    left.delete('last')
    expect(writer.acknowledged).toBeGreaterThan(before)
    expect(last, `seed ${random.seed}`).toBeGreaterThanOrEqual(writer.acknowledged)
    expect(left).toEqual(expectedRows(last))
    expect(rowsIn(engine, 'right')).toEqual(left)
    expect((await engine.verify()).faults).toEqual([])
    // Every other time it is not closed in good order either.
    if (round % 2 === 0) await engine.close()
    else {
      disk.cutPower()
      await engine.close().catch(() => undefined)
      disk.unmount()
      disk.mount()
    }
    before = last
  }
})
