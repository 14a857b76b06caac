/** The peers' packages: installed on the first run, so that nobody else has to. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { missingPeers, PEERS } from './stores/index.js'

const BENCH = fileURLToPath(new URL('..', import.meta.url))

/** Installs what is missing; gives the names of the peers that can take part. */
export function installPeers(say: (text: string) => void): string[] {
  const missing = missingPeers()
  if (missing.length > 0) {
    say(`installing ${missing.join(', ')} (compiling better-sqlite3 takes about a minute) …`)
    const { status } = spawnSync('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund'], {
      cwd: BENCH,
      stdio: ['ignore', 2, 2],
    })
    if (status !== 0) say('npm could not install all of them: those that are missing do not take part')
  }
  return presentPeers()
}

export function presentPeers(): string[] {
  const missing = missingPeers()
  return PEERS.filter(name => !missing.includes(name))
}

export function versionsOf(peers: readonly string[]): Record<string, string> {
  const versionIn = (file: string): string => (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  const versions: Record<string, string> = { hyphadb: versionIn(join(BENCH, '../packages/hyphadb/package.json')) }
  for (const peer of peers) versions[peer] = versionIn(join(BENCH, 'node_modules', peer, 'package.json'))
  return versions
}
