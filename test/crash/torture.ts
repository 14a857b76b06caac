/**
 * `npm run torture -- --minutes n [--seed s]`: rounds of random violence for as long as asked, each stretch with a new
 * seed and a new database, and other sizes of everything. Ends with the figures, or with the seed that failed.
 */
import { parseArgs } from 'node:util'
import { randomWord, SeededRandom } from 'hyphadb/internal/base/random.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'
import { type RoundsResult, runRounds } from './rounds.js'

const ROUNDS_EACH = 300

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' } },
})
const minutes = Number(values.minutes)
const firstSeed = values.seed === undefined ? randomWord() : Number(values.seed)
if (!(minutes > 0) || !Number.isSafeInteger(firstSeed)) {
  console.error('usage: npm run torture -- --minutes n [--seed s]')
  process.exit(2)
}

/** Sizes that follow from the seed, from a pool of a few pages to one that holds everything. */
function sizesOf(seed: number): InternalOptions {
  const random = new SeededRandom(seed ^ 0x51ce5)
  return {
    pageSize: random.pick([4096, 4096, 8192, 16384]),
    frames: random.pick([32, 64, 96, 256, 1024]),
    segmentBytes: random.pick([128 << 10, 256 << 10, 1 << 20]),
    logRingBytes: random.pick([64 << 10, 128 << 10, 1 << 20]),
    versionRingBytes: random.pick([64 << 10, 256 << 10]),
    checkpointBytes: random.pick([128 << 10, 512 << 10, 4 << 20]),
  }
}

const until = performance.now() + minutes * 60_000
const total = { rounds: 0, killed: 0, stopped: 0, wipedOut: 0, operations: 0 }
let longest: RoundsResult | undefined
let shown = 0

function show(seed: number, result: RoundsResult): void {
  if (!process.stdout.isTTY || performance.now() - shown < 500) return
  shown = performance.now()
  const left = Math.max(0, Math.ceil((until - shown) / 1000))
  process.stdout.write(
    `\rseed ${seed}: ${total.rounds + result.rounds} rounds, longest ${result.longestMs.toFixed(0)} ms, ${left} s left   `,
  )
}

let failed = false
for (let seed = firstSeed; performance.now() < until && !failed; seed++) {
  try {
    const result = await runRounds({
      seed,
      options: sizesOf(seed),
      goOn: round => round < ROUNDS_EACH && performance.now() < until,
      progress: current => show(seed, current),
    })
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += result[name]
    if (longest === undefined || result.longestMs > longest.longestMs) longest = result
  } catch (error) {
    failed = true
    console.error(`\nFAILED with --seed ${seed}\n${error instanceof Error ? error.message : String(error)}`)
  }
}
console.log(
  `\n${total.rounds} rounds, ${total.killed} kills, ${total.stopped} stops, ${total.wipedOut} times all at once, ${total.operations} operations; ` +
    `longest operation ${longest?.longestMs.toFixed(1) ?? 0} ms (${longest?.longest ?? ''}); first seed ${firstSeed}`,
)
process.exitCode = failed ? 1 : 0
