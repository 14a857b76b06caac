/**
 * A process of the demonstration: makes transfers, one after the other, each awaited until it is on disk, until it is
 * told to stop or killed. Says of each that it was acknowledged.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { withDatabase } from '../open-database.js'
import { runChild } from './child.js'
import { JOURNAL, newestTransfer, transfer } from './ledger.js'
import { onParent, tellParent } from './messages.js'

/** Leaves the processor to the others most of the time. */
const PAUSE_MS = 2

await runChild(async directory => {
  let isStopping = false
  onParent(message => {
    if (message.kind === 'stop') isStopping = true
  })
  await withDatabase(directory, { create: false }, async database => {
    let next = newestTransfer(database.collection(JOURNAL)) + 1
    await tellParent({ kind: 'ready' })
    for (; !isStopping; next++) {
      await transfer(database, next)
      await tellParent({ kind: 'acknowledged', transfer: next })
      await pause(PAUSE_MS)
    }
    await tellParent({ kind: 'written', transfers: next - 1 })
  })
})
