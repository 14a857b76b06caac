/**
 * `npm run bench -- [--quick] [--only w,…] [--json]`
 *
 * The table goes to stdout (with --json: one object instead), progress to stderr, JSON and SVG to bench/results/.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Bench } from './bench.js'
import { barChart } from './chart.js'
import { describeMachine, type Machine } from './machine.js'
import { installPeers, presentPeers, versionsOf } from './peers.js'
import type { Row } from './rows.js'
import { machineText, markdownTable, plainTable, remarks, rowText } from './table.js'
import { chosen, SCALES, WORKLOADS } from './workloads.js'

const RESULTS = fileURLToPath(new URL('../results', import.meta.url))

const USAGE = `npm run bench -- [options]
  --quick            smaller data and shorter runs: one or two minutes
  --only <words>     only workloads with one of these words in their name, e.g. durable,scan
  --json             one JSON object on stdout instead of the table
  --rounds <n>       more rounds, or fewer
  --peers <names>    only these peers, or none
  --directory <dir>  where the databases are made; the system's directory for temporary files if not given
  --markdown         the table as Markdown
  --cpu-profile      a .cpuprofile of each process that measures ours, in bench/results/
  --list             the workloads' names
`

function usage(reason: string): never {
  process.stderr.write(`${reason}\n${USAGE}`)
  process.exit(2)
}

function options() {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        tiny: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true },
        json: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        peers: { type: 'string' },
        directory: { type: 'string' },
        markdown: { type: 'boolean', default: false },
        'cpu-profile': { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    return usage((error as Error).message)
  }
}

const words = (text: string): string[] => text.split(',').flatMap(word => (word.trim() === '' ? [] : [word.trim()]))

/** The peers that take part: those named, or all. The tiny run of the tests takes what is there. */
function peersFor(named: string | undefined, install: boolean): string[] {
  if (named === 'none') return []
  const present = install ? installPeers(text => process.stderr.write(`${text}\n`)) : presentPeers()
  if (named === undefined) return present
  const wanted = words(named)
  return present.filter(peer => wanted.some(word => peer.includes(word)))
}

async function main(): Promise<void> {
  const given = options()
  if (given.help) return void process.stdout.write(USAGE)
  if (given.list) return void process.stdout.write(`${WORKLOADS.map(({ name }) => name).join('\n')}\n`)
  const base = SCALES[given.tiny ? 'tiny' : given.quick ? 'quick' : 'full']
  const rounds = given.rounds === undefined ? base.rounds : Number(given.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) usage(`--rounds is a number from 1, not ${given.rounds}`)
  const workloads = chosen((given.only ?? []).flatMap(words))
  if (workloads.length === 0) usage(`No workload has a name with ${String(given.only)} in it`)
  const peers = peersFor(given.peers, !given.tiny)
  const machine = describeMachine(versionsOf(peers))
  const bench = new Bench({
    scale: { ...base, rounds },
    workloads,
    peers,
    directory: given.directory,
    ...(given['cpu-profile'] ? { execArgv: ['--cpu-prof', `--cpu-prof-dir=${RESULTS}`] } : {}),
    progress: text => progress(text, given.json),
  })
  const interrupted = (): void => void bench.remove().finally(() => process.exit(130))
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  let rows: Row[]
  try {
    rows = await bench.run(row => progress(`= ${rowText(row)}`, given.json))
  } finally {
    progress('', given.json)
    await bench.remove()
  }
  report({ machine, scale: base.name, place: bench.place, rounds, rows }, given)
  if (rows.some(row => row.hypha === null)) process.exitCode = 1
}

interface Result {
  readonly machine: Machine
  readonly scale: string
  readonly place: string
  readonly rounds: number
  readonly rows: readonly Row[]
}

function report(result: Result, { json, markdown, tiny }: { json: boolean; markdown: boolean; tiny: boolean }): void {
  const text = JSON.stringify(result, null, 2)
  if (!tiny) {
    mkdirSync(RESULTS, { recursive: true })
    writeFileSync(join(RESULTS, 'bench.json'), `${text}\n`)
    writeFileSync(join(RESULTS, 'bench.svg'), barChart(result.rows, machineText(result.machine).replace('\n', '; ')))
  }
  if (json) {
    process.stdout.write(`${text}\n`)
    return
  }
  const table = markdown ? markdownTable(result.rows) : plainTable(result.rows)
  const tail = tiny ? [] : ['', `JSON and chart: bench/results/`]
  process.stdout.write([machineText(result.machine), '', table, '', ...remarks(result.rows), ...tail, ''].join('\n'))
}

/** One line that replaces itself on a terminal; a line each elsewhere; nothing beside JSON that nobody watches. */
function progress(text: string, json: boolean): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else if (!json && text !== '') process.stderr.write(`${text}\n`)
}

await main()
