/** Long runs: node test/dist/model/run.js --seeds 100 [--from 1] [--processes 1,2,4] [--page-size 4096] [--operations 1500] */
import { parseArgs } from 'node:util'
import { runModel } from './model-run.js'
import { describeError } from './processes.js'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10' },
    from: { type: 'string', default: '1' },
    processes: { type: 'string', default: '1,2,4' },
    'page-size': { type: 'string', default: '4096,16384,65536' },
    operations: { type: 'string', default: '1500' },
  },
})

const counts = values.processes.split(',').map(Number)
const sizes = values['page-size'].split(',').map(Number)
let failed = 0
let passed = 0
for (let i = 0; i < Number(values.seeds); i++) {
  const seed = Number(values.from) + i * 10
  const processes = counts[i % counts.length] as number
  const pageSize = sizes[Math.floor(i / counts.length) % sizes.length] as number
  const started = performance.now()
  try {
    await runModel({ seed, processes, pageSize, operations: Number(values.operations) })
    passed++
    console.log(
      `seed ${seed} processes ${processes} page ${pageSize}: passed in ${Math.round(performance.now() - started)} ms`,
    )
  } catch (error) {
    failed++
    console.log(`seed ${seed} processes ${processes} page ${pageSize}: FAILED\n${describeError(error as Error)}`)
  }
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
