/** A worker thread that writes until it is terminated. Its worker data is a MemberConfig. */
import { parentPort, workerData } from 'node:worker_threads'
import { openDatabase } from 'hyphadb/internal/documents/database.js'
import { openEngine } from 'hyphadb/internal/engine/open.js'
import type { MemberConfig } from './protocol.js'
import { Writer } from './roles.js'
import { Stalls } from './stalls.js'
import { openTables } from './workload.js'

const config = workerData as MemberConfig
const engine = await openEngine(config.directory, config.options)
const db = await openDatabase(() => Promise.resolve(engine))
const opened = { engine, db, tables: openTables(engine), seed: config.seed, journals: config.journals }
const writer = new Writer(opened, config, new Stalls())
parentPort?.postMessage('ready')
for (;;) await writer.step()
