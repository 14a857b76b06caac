/**
 * The elected housekeeper: a worker thread of one process, which holds a byte of `attach` as long as it lives. Every
 * process looks now and then whether that byte is held, and starts a thread when it is not. No process is special: when
 * the housekeeper's process dies, the next one to look takes over.
 */
import { Worker } from 'node:worker_threads'
import type { Core } from './core.js'
import type { DatabasePaths } from './creation.js'
import type { ResolvedOptions } from './options.js'

/** Beyond the bytes of the participants (see memory/participants.ts). */
export const HOUSEKEEPER_BYTE = 1000

/** What the worker is told. */
export interface HousekeeperData {
  directory: string
  flushIntervalMs: number
  busyTimeoutMs: number
  checkpointBytes: number
  snapshotBytes: number
  sharedMemoryDirectory: string
}

export class HousekeeperThread {
  #worker: Worker | undefined
  #ended: Promise<void> = Promise.resolve()
  #stopping = false

  constructor(
    readonly core: Core,
    readonly paths: DatabasePaths,
    readonly options: ResolvedOptions,
  ) {}

  /** Starts a housekeeper unless some thread somewhere is one. */
  ensure(): void {
    if (this.#stopping || this.#worker !== undefined || this.core.closed) return
    if (this.core.options.locks.isLockedByOther(HOUSEKEEPER_BYTE)) return
    const workerData: HousekeeperData = {
      directory: this.paths.directory,
      flushIntervalMs: this.options.flushIntervalMs,
      busyTimeoutMs: this.options.busyTimeoutMs,
      checkpointBytes: this.options.checkpointBytes,
      snapshotBytes: this.options.keptVersionBytes,
      sharedMemoryDirectory: this.options.sharedMemoryDirectory,
    }
    const worker = new Worker(new URL('./housekeeper-worker.js', import.meta.url), { workerData, execArgv: [] })
    worker.unref()
    this.#worker = worker
    this.#ended = new Promise(resolve => {
      worker.once('error', () => {
        // It ends after this; another one is started at the next look, here or elsewhere.
      })
      worker.once('exit', () => {
        this.#worker = undefined
        resolve()
      })
    })
  }

  /** Ends our housekeeper, if we have it, after the section that it is in. */
  async stop(): Promise<void> {
    this.#stopping = true
    const worker = this.#worker
    if (worker === undefined) return
    worker.ref()
    worker.postMessage('stop')
    await this.#ended
  }
}
