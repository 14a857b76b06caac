/** Options of opening, checked and completed; and how a budget of memory is divided. */

import { realClock } from '../base/clock.js'
import { HyphaError } from '../base/errors.js'
import {
  DEFAULT_BUSY_TIMEOUT_MS,
  DEFAULT_FLUSH_INTERVAL_MS,
  DEFAULT_MEMORY_BYTES,
  MAX_PAGE_BYTES,
  MIB,
  MIN_PAGE_BYTES,
} from '../base/limits.js'
import { parseBytes } from '../base/size.js'
import type { FileSystem } from '../os/file-system.js'
import { availableSharedMemory, SHARED_MEMORY_DIRECTORY } from '../os/memory-budget.js'
import { realFileSystem } from '../os/real-file-system.js'
import type { Durability } from '../txn/api.js'

export interface OpenOptions {
  /** Budget of the shared region, as bytes or '256MB'. Fixed by the first opener. */
  memory?: number | string
  mode?: 'persistent'
  /** What an awaited write waits for. */
  durability?: Durability
  /** Within this time a write that nobody awaited is on disk. */
  flushIntervalMs?: number
  /** 4096 to 65536, a power of two; fixed when the database is created. */
  pageSize?: number
  readOnly?: boolean
  /** Create the database if it is missing. */
  create?: boolean
  /** How long a call waits for a process that holds a latch and does not move. */
  busyTimeoutMs?: number
  /** Bytes of old versions that snapshots may keep beyond the ring, before the oldest one is given up. */
  snapshotBytes?: number | string
}

/** For tests and tools: what users have no reason to set. */
export interface InternalOptions extends OpenOptions {
  files?: FileSystem
  /** Exact number of page frames. */
  frames?: number
  segmentBytes?: number
  logRingBytes?: number
  versionRingBytes?: number
  /** 'worker': as elected (default). 'none': only what callers run themselves. */
  housekeeping?: 'worker' | 'none'
  sharedMemoryDirectory?: string
  nowMs?: () => number
  /** Log bytes after which a checkpoint is due. */
  checkpointBytes?: number
}

export interface ResolvedOptions {
  memory: number
  memoryWasGiven: boolean
  durability: Durability
  flushIntervalMs: number
  pageSize: number | undefined
  readOnly: boolean
  create: boolean
  busyTimeoutMs: number
  keptVersionBytes: number
  files: FileSystem
  frames: number | undefined
  segmentBytes: number
  logRingBytes: number | undefined
  versionRingBytes: number | undefined
  housekeeping: 'worker' | 'none'
  sharedMemoryDirectory: string
  nowMs: () => number
  checkpointBytes: number
}

const KNOWN = new Set([
  'memory',
  'mode',
  'durability',
  'flushIntervalMs',
  'pageSize',
  'readOnly',
  'create',
  'busyTimeoutMs',
  'snapshotBytes',
  'files',
  'frames',
  'segmentBytes',
  'logRingBytes',
  'versionRingBytes',
  'housekeeping',
  'sharedMemoryDirectory',
  'nowMs',
  'checkpointBytes',
])

const MEMORY_MIN = MIB

function invalid(message: string): HyphaError {
  return new HyphaError('HYPHA_INVALID', message)
}

export function resolveOptions(options: InternalOptions): ResolvedOptions {
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name))
      throw invalid(
        `Unknown option '${name}'. Options are memory, durability, flushIntervalMs, pageSize, readOnly, create, busyTimeoutMs, snapshotBytes`,
      )
  }
  if (options.mode !== undefined && options.mode !== 'persistent') {
    throw invalid(`mode: this version of HyphaDB has 'persistent' only, not '${String(options.mode)}'`)
  }
  const memory = options.memory === undefined ? DEFAULT_MEMORY_BYTES : parseBytes(options.memory, 'memory')
  if (memory < MEMORY_MIN && options.frames === undefined) throw invalid('memory must be at least 1MB')
  const pageSize = options.pageSize
  if (
    pageSize !== undefined &&
    (!Number.isInteger(Math.log2(pageSize)) || pageSize < MIN_PAGE_BYTES || pageSize > MAX_PAGE_BYTES)
  ) {
    throw invalid(`pageSize is a power of two from ${MIN_PAGE_BYTES} to ${MAX_PAGE_BYTES}, not ${pageSize}`)
  }
  const durability = options.durability ?? 'commit'
  if (!['commit', 'interval', 'none'].includes(durability)) {
    throw invalid(`durability is 'commit', 'interval' or 'none', not '${String(durability)}'`)
  }
  const flushIntervalMs = options.flushIntervalMs ?? DEFAULT_FLUSH_INTERVAL_MS
  if (!(flushIntervalMs >= 1 && flushIntervalMs <= 60_000)) throw invalid('flushIntervalMs is from 1 to 60000')
  const snapshotBytes =
    options.snapshotBytes === undefined
      ? Math.max(256 * MIB, memory * 4)
      : parseBytes(options.snapshotBytes, 'snapshotBytes')
  return {
    memory,
    memoryWasGiven: options.memory !== undefined,
    durability,
    flushIntervalMs,
    pageSize,
    readOnly: options.readOnly ?? false,
    create: options.create ?? true,
    busyTimeoutMs: options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS,
    keptVersionBytes: snapshotBytes,
    files: options.files ?? realFileSystem,
    frames: options.frames,
    segmentBytes: options.segmentBytes ?? 16 * MIB,
    logRingBytes: options.logRingBytes,
    versionRingBytes: options.versionRingBytes,
    housekeeping: options.housekeeping ?? 'worker',
    sharedMemoryDirectory: options.sharedMemoryDirectory ?? SHARED_MEMORY_DIRECTORY,
    nowMs: options.nowMs ?? (() => realClock.nowMs()),
    checkpointBytes: options.checkpointBytes ?? Math.max(16 * MIB, Math.min(256 * MIB, memory)),
  }
}

export interface Budget {
  budget: number
  framesMax: number
  logRingBytes: number
  versionRingBytes: number
}

const powerOfTwoBelow = (n: number): number => 2 ** Math.floor(Math.log2(n))
const clamp = (n: number, low: number, high: number): number => Math.min(high, Math.max(low, n))
const FRAMES_MIN = 8

/** How the budget is divided: a thirty-second for the log ring, a sixteenth for old versions, the rest for pages. */
export function divideBudget(options: ResolvedOptions, pageSize: number): Budget {
  let budget = options.memory
  const available = availableSharedMemory(options.sharedMemoryDirectory)
  if (budget > available.availableBytes) {
    if (options.memoryWasGiven || available.availableBytes < 4 * MIB) {
      throw new HyphaError(
        'HYPHA_SHM_FULL',
        `The region needs ${budget} bytes and ${available.availableBytes} are to be had (limited by ${available.limitedBy}). Lower \`memory\`, or ${available.advice}`,
      )
    }
    budget = Math.floor(available.availableBytes * 0.7)
  }
  const logRingBytes = options.logRingBytes ?? powerOfTwoBelow(clamp(budget / 32, 256 << 10, 16 << 20))
  const versionRingBytes =
    Math.floor((options.versionRingBytes ?? clamp(budget / 16, 256 << 10, 64 << 20)) / 4096) * 4096
  const framesMax =
    options.frames ?? Math.max(FRAMES_MIN, Math.floor((budget - logRingBytes - versionRingBytes) / pageSize))
  return { budget, framesMax, logRingBytes, versionRingBytes }
}
