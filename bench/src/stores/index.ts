/** All stores, ours first. */
import { hypha } from './hypha.js'
import { level } from './level.js'
import { lmdb } from './lmdb.js'
import { isInstalled } from './modules.js'
import { sqlite } from './sqlite.js'
import type { StoreKind } from './store.js'

const ALL: readonly StoreKind[] = [hypha, lmdb, sqlite, level]

export const PEERS: readonly string[] = ALL.slice(1).map(kind => kind.name)

export const missingPeers = (): string[] => PEERS.filter(name => !isInstalled(name))

export function storeKind(name: string): StoreKind {
  const kind = ALL.find(each => each.name === name)
  if (kind === undefined) throw new Error(`There is no store named ${name}`)
  return kind
}
