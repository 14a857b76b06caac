import { defineConfig } from 'vitest/config'

// Tests run as compiled JavaScript: the processes and workers that they start are plain Node on the same files.
export default defineConfig({
  test: {
    include: ['packages/*/dist/**/*.test.js', 'test/dist/**/*.test.js'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Costly assertions on, here and in every process that a test starts.
    env: { HYPHA_CHECKS: '1' },
  },
})
