import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { MIB } from '../base/limits.js'
import { Child, endChildren, eventually, TemporaryDirectory } from './children.test.helper.js'
import { availableSharedMemory } from './memory-budget.js'
import { bootId, currentThread, describeProcess, processStartTicks, processState } from './process.js'

afterEach(endChildren)

describe('processes', () => {
  it('are told apart by start time, and seen running, stopped and gone', async () => {
    const child = new Child(`say('up'); await heard()`)
    await child.next()
    expect(processState(child.pid)).toBe('running')
    expect(processStartTicks(child.pid)).toBeGreaterThanOrEqual(processStartTicks(process.pid))
    await child.kill('SIGSTOP')
    expect(await eventually(() => processState(child.pid) === 'stopped')).toBe(true)
    expect(describeProcess(child.pid)).toMatch(/^pid \d+ \(node.*, stopped\)$/)
    await child.kill('SIGKILL')
    expect(processState(child.pid)).toBe('missing')
    expect(processStartTicks(child.pid)).toBe(-1)
    expect(describeProcess(child.pid)).toBe(`pid ${child.pid}`)
  })

  it('know themselves and the boot they run in', () => {
    expect(bootId()).toMatch(/^[0-9a-f-]{36}$/)
    expect(currentThread()).toEqual({ pid: process.pid, threadId: 0, startTicks: processStartTicks(process.pid) })
  })
})

function machine(directory: TemporaryDirectory, texts: Record<string, string>): { proc: string; cgroup: string } {
  for (const [path, text] of Object.entries(texts)) {
    mkdirSync(dirname(directory.file(path)), { recursive: true })
    writeFileSync(directory.file(path), text)
  }
  return { proc: directory.file('proc'), cgroup: directory.file('cgroup') }
}

describe('the memory budget', () => {
  it('is what the file system of shared memory has free, when nothing else limits it', context => {
    using small = TemporaryDirectory.small(5 * MIB)
    if (small === undefined) return context.skip()
    using directory = new TemporaryDirectory()
    const budget = availableSharedMemory(small.path, machine(directory, {}))
    expect(budget.availableBytes).toBe(5 * MIB)
    expect(budget.limitedBy).toBe('shared memory')
    expect(budget.advice).toContain('--shm-size')
  })

  it('looks at the memory of the machine', () => {
    using directory = new TemporaryDirectory()
    const budget = availableSharedMemory(
      '/dev/shm',
      machine(directory, { 'proc/meminfo': 'MemTotal: 9 kB\nMemAvailable:     12 kB\n' }),
    )
    expect([budget.availableBytes, budget.limitedBy]).toEqual([12 * 1024, 'free memory'])
  })

  it('obeys the smallest control group of version 2 on the way up, and counts reclaimable cache as free', () => {
    using directory = new TemporaryDirectory()
    const budget = availableSharedMemory(
      '/dev/shm',
      machine(directory, {
        'proc/self/cgroup': '0::/a/b\n',
        'cgroup/a/b/memory.max': 'max\n',
        'cgroup/a/memory.max': '3000000\n',
        'cgroup/a/memory.current': '2000000\n',
        'cgroup/a/memory.stat': 'anon 5\ninactive_file 500000\n',
      }),
    )
    expect([budget.availableBytes, budget.limitedBy]).toEqual([1_500_000, 'control group'])
  })

  it('obeys version 1, also where the path is that of the host', () => {
    using directory = new TemporaryDirectory()
    const budget = availableSharedMemory(
      '/dev/shm',
      machine(directory, {
        'proc/self/cgroup': '12:cpu:/x\n5:memory:/docker/0123\n',
        'cgroup/memory/memory.limit_in_bytes': '1000000\n',
        'cgroup/memory/memory.usage_in_bytes': '400000\n',
        'cgroup/memory/memory.stat': 'total_inactive_file 100000\n',
      }),
    )
    expect(budget.availableBytes).toBe(700_000)
  })

  it('fails with a code where there is no shared memory at all', () => {
    expect(() => availableSharedMemory('/nonexistent')).toThrow('no such file')
  })
})
