import { describe, expect, test } from 'vitest'
import { hypha } from '../command.test-support.js'

describe('hypha demo', () => {
  test('imports while others query and write, loses a writer, and everything adds up', async () => {
    const { code, stdout, stderr } = await hypha(['demo', '--rows', '6000', '--json'])
    expect(stderr).toBe('')
    const result = JSON.parse(stdout) as { checks: { name: string; ok: boolean; detail: string }[] }
    expect(result.checks.filter(check => !check.ok)).toEqual([])
    expect(result).toMatchObject({ ok: true, import: { records: 6000 } })
    expect(result.checks.length).toBeGreaterThanOrEqual(8)
    expect(code).toBe(0)
  }, 60_000)
})
