/**
 * A limit on all memory of a process, the system's page cache for its files included. It is the only way to limit lmdb,
 * whose cache is the page cache, and it keeps the others from having one cache of their own and another in the system.
 *
 * Needs a memory cgroup that we may create (version 1, as root). Where there is none, only the stores' own caches are
 * limited, and the report says so.
 */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = '/sys/fs/cgroup/memory'

export class MemoryLimit {
  private constructor(private readonly directory: string) {}

  /** Undefined where the system does not let us. */
  static create(bytes: number): MemoryLimit | undefined {
    if (!existsSync(join(ROOT, 'memory.limit_in_bytes'))) return undefined
    const directory = join(ROOT, `hypha-bench-${process.pid}`)
    try {
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, 'memory.limit_in_bytes'), String(bytes))
      return new MemoryLimit(directory)
    } catch {
      return undefined
    }
  }

  add(pid: number): void {
    writeFileSync(join(this.directory, 'cgroup.procs'), String(pid))
  }

  remove(): void {
    try {
      rmdirSync(this.directory)
    } catch {
      // A process is still ending in it; an empty group costs nothing.
    }
  }
}
