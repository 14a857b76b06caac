/** Entry of the housekeeper's thread: joins the region as a participant and runs rounds until it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads'
import { isHyphaError } from '../base/errors.js'
import { ByteLockFile } from '../os/byte-locks.js'
import { pathsOf } from './creation.js'
import { HOUSEKEEPER_BYTE, type HousekeeperData } from './housekeeper.js'
import { openEngine } from './open.js'

const ROUND_MS = 20

const data = workerData as HousekeeperData
const election = new ByteLockFile(pathsOf(data.directory).attach)

let stop = false
let wake: () => void = () => {}
parentPort?.on('message', () => {
  stop = true
  wake()
})

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, milliseconds)
    wake = () => {
      clearTimeout(timer)
      resolve()
    }
  })
}

async function run(): Promise<void> {
  const engine = await openEngine(data.directory, {
    create: false,
    housekeeping: 'none',
    flushIntervalMs: data.flushIntervalMs,
    busyTimeoutMs: data.busyTimeoutMs,
    checkpointBytes: data.checkpointBytes,
    snapshotBytes: data.snapshotBytes,
    sharedMemoryDirectory: data.sharedMemoryDirectory,
  })
  try {
    while (!stop && engine.isAlive) {
      try {
        engine.housekeep()
      } catch (error) {
        // A full disk, a stopped process: the same section is tried again; users hear of it where they are concerned.
        if (!isHyphaError(error)) throw error
        await pause(200)
      }
      await pause(ROUND_MS)
    }
  } finally {
    await engine.close().catch(() => undefined)
  }
}

if (election.tryLock(HOUSEKEEPER_BYTE)) {
  try {
    await run()
  } catch (error) {
    if (!isHyphaError(error)) throw error
  }
}
election.close()
parentPort?.close()
