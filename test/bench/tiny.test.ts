/** Every workload of the benchmarks, with a few hundred rows: that they run, not how fast. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const BENCH = fileURLToPath(new URL('../../../bench/dist/main.js', import.meta.url))
const TIMEOUT_MS = 180_000

interface Row {
  workload: string
  unit: string
  hypha: number | null
  peers: Record<string, number>
  best: string | null
  ratio: number | null
  spread: Record<string, { min: number; max: number; runs: number }>
  settings: Record<string, string>
  failures: Record<string, string>
}

function bench(...parameters: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [BENCH, ...parameters], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, HYPHA_CHECKS: '' },
  })
}

let directory = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'hypha-bench-test-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('the benchmarks, tiny', () => {
  it(
    'run every workload and give a row with a figure for each',
    () => {
      const names = bench('--list').stdout.trim().split('\n')
      const { status, stdout, stderr } = bench('--tiny', '--json', '--peers', 'none', '--directory', directory)
      expect(status, stderr).toBe(0)
      const { machine, rows } = JSON.parse(stdout) as { machine: Record<string, unknown>; rows: Row[] }
      expect(machine['node']).toBe(process.version)
      expect(rows.map(row => row.workload)).toEqual(names)
      for (const row of rows) {
        expect(row.hypha, JSON.stringify(row.failures)).toBeGreaterThan(0)
        expect(row.settings['hypha']).not.toBe('')
        expect(row.spread['hypha']!.min).toBeLessThanOrEqual(row.spread['hypha']!.max)
      }
    },
    TIMEOUT_MS,
  )

  it(
    'compare with the peers that are installed',
    () => {
      const { status, stdout, stderr } = bench(
        '--tiny',
        '--json',
        '--only',
        'durable write, single',
        '--directory',
        directory,
      )
      expect(status, stderr).toBe(0)
      const { rows } = JSON.parse(stdout) as { rows: Row[] }
      for (const { peers, best, ratio, hypha } of rows) {
        if (best === null) expect(peers).toEqual({})
        else expect(ratio).toBeCloseTo((hypha as number) / (peers[best] as number), 6)
      }
    },
    TIMEOUT_MS,
  )

  it('have names that say what is measured', () => {
    for (const name of bench('--list').stdout.trim().split('\n')) {
      expect(name).toMatch(/durable|relaxed|bulk|get|scan|query|log bytes|open/)
    }
  })

  it('refuse what they do not know with status 2', () => {
    expect(bench('--only', 'nonsense').status).toBe(2)
    expect(bench('--nonsense').status).toBe(2)
  })
})
