import { existsSync, readdirSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

/** The compiled form of every test that has a source; what a renamed test left behind in dist is not run. */
function compiledTests(sources: string, compiled: string): string[] {
  if (!existsSync(sources)) return []
  return readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.test.ts') && !path.startsWith('dist/') && !path.startsWith('node_modules/'))
    .map(path => `${compiled}/${path.replace(/\.ts$/, '.js')}`)
}

// Tests run as compiled JavaScript: the processes and workers that they start are plain Node on the same files.
export default defineConfig({
  test: {
    include: [
      ...readdirSync('packages').flatMap(name => compiledTests(`packages/${name}/src`, `packages/${name}/dist`)),
      ...compiledTests('test', 'test/dist'),
    ],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Costly assertions on, here and in every process that a test starts.
    env: { HYPHA_CHECKS: '1' },
  },
})
