/**
 * How much shared memory may be asked for. /dev/shm says how much it would give (Docker: 64 MB unless told otherwise),
 * but a memory cgroup does not: allocation beyond its limit is no error, the kernel kills. So the limits are read first.
 */
import { readFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { fromErrno } from '../base/errors.js'

export const SHARED_MEMORY_DIRECTORY = '/dev/shm'

export interface SharedMemoryBudget {
  /** What can be allocated now without running into any limit. */
  readonly availableBytes: number
  readonly limitedBy: 'shared memory' | 'free memory' | 'control group'
  /** What the user can do to get more. */
  readonly advice: string
}

/** Where to look; tests point it elsewhere. */
export interface BudgetSources {
  readonly proc: string
  readonly cgroup: string
}

const machine: BudgetSources = { proc: '/proc', cgroup: '/sys/fs/cgroup' }

export function availableSharedMemory(
  directory: string = SHARED_MEMORY_DIRECTORY,
  sources: BudgetSources = machine,
): SharedMemoryBudget {
  let budget: SharedMemoryBudget = {
    availableBytes: freeBytesOf(directory),
    limitedBy: 'shared memory',
    advice: `enlarge ${directory} (docker run --shm-size=1g, or mount -o remount,size=1g ${directory})`,
  }
  const freeMemory = availableMemory(sources)
  if (freeMemory < budget.availableBytes) {
    budget = { availableBytes: freeMemory, limitedBy: 'free memory', advice: 'free some memory on this machine' }
  }
  const group = availableInControlGroup(sources)
  if (group < budget.availableBytes) {
    budget = {
      availableBytes: group,
      limitedBy: 'control group',
      advice: 'raise the memory limit of the container or control group (docker run --memory)',
    }
  }
  return budget
}

function freeBytesOf(directory: string): number {
  try {
    const { bavail, bsize, blocks } = statfsSync(directory)
    // A tmpfs mounted without a limit says 0 blocks.
    return blocks === 0 ? Number.MAX_SAFE_INTEGER : bavail * bsize
  } catch (error) {
    throw fromErrno(error, 'look at the shared memory of', directory, 'shared-memory')
  }
}

/** MemAvailable: what can be had without swapping, page cache included. */
function availableMemory(sources: BudgetSources): number {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readText(join(sources.proc, 'meminfo')))
  return match === null ? Number.MAX_SAFE_INTEGER : Number(match[1]) * 1024
}

/** Room left in this process's memory control group and all above it; the smallest counts. */
function availableInControlGroup(sources: BudgetSources): number {
  let least = Number.MAX_SAFE_INTEGER
  for (const line of readText(join(sources.proc, 'self/cgroup')).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    if (controllers === '') least = Math.min(least, roomAlong(sources.cgroup, path, versionTwo))
    else if (controllers.split(',').includes('memory')) {
      least = Math.min(least, roomAlong(join(sources.cgroup, 'memory'), path, versionOne))
    }
  }
  return least
}

interface LimitFiles {
  readonly limit: string
  readonly usage: string
  readonly reclaimable: RegExp
}

const versionTwo: LimitFiles = { limit: 'memory.max', usage: 'memory.current', reclaimable: /^inactive_file (\d+)$/m }
const versionOne: LimitFiles = {
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  reclaimable: /^total_inactive_file (\d+)$/m,
}

function roomAlong(root: string, path: string, files: LimitFiles): number {
  // In a container the path often belongs to the host's tree and the own group is mounted at the root: look at both.
  const parts = path.split('/').filter(part => part !== '' && part !== '..')
  let least = Number.MAX_SAFE_INTEGER
  for (let depth = parts.length; depth >= 0; depth--) {
    least = Math.min(least, roomIn(join(root, ...parts.slice(0, depth)), files))
  }
  return least
}

function roomIn(directory: string, files: LimitFiles): number {
  const limitText = readText(join(directory, files.limit)).trim()
  // Version 2 says "max" for no limit, version 1 a number beyond all memory.
  if (!/^\d+$/.test(limitText)) return Number.MAX_SAFE_INTEGER
  const limit = Number(limitText)
  const usage = Number(readText(join(directory, files.usage)).trim() || '0')
  const reclaimable = Number(files.reclaimable.exec(readText(join(directory, 'memory.stat')))?.[1] ?? '0')
  return Math.max(0, limit - Math.max(0, usage - reclaimable))
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
