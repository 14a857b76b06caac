/** `npm run simulate -- --seeds n [--from s] [--steps k] [--stride n]`: power failures at every operation, seed after seed. */
import { parseArgs } from 'node:util'
import { simulate } from './simulation.js'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10' },
    from: { type: 'string', default: '1' },
    steps: { type: 'string', default: '60' },
    stride: { type: 'string', default: '1' },
  },
})

const [seeds, from, steps, stride] = [values.seeds, values.from, values.steps, values.stride].map(Number) as [
  number,
  number,
  number,
  number,
]
if (![seeds, from, steps, stride].every(Number.isSafeInteger)) {
  console.error('usage: npm run simulate -- --seeds n [--from s] [--steps k] [--stride n]')
  process.exit(2)
}

let failed = 0
for (let seed = from; seed < from + seeds; seed++) {
  try {
    const started = performance.now()
    const { operations, failures, byDepth } = await simulate({ seed, steps, stride })
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(
      `seed ${seed}: ${operations} operations, ${failures} power failures (${byDepth.join(' + ')}), ${seconds} s`,
    )
  } catch (error) {
    failed++
    console.log(`seed ${seed} FAILED: ${error instanceof Error ? error.message : String(error)}`)
    if (process.env['HYPHA_STACK'] !== undefined) console.log(error)
  }
}
console.log(`${seeds - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
