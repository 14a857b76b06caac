import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { done, ended, hypha, scratch, start } from '../command.test-support.js'

const COMMANDS = ['import', 'find', 'count', 'export', 'get', 'put', 'delete', 'stats', 'verify', 'sample', 'demo']

describe('hypha', () => {
  test('lists its commands, and each has help with an example or an explanation', async () => {
    const help = await done(['--help'])
    for (const command of COMMANDS) {
      expect(help).toContain(`  ${command} `)
      const own = await done([command, '--help'])
      expect(own).toMatch(/Usage: hypha /)
      expect(own.split('\n').length).toBeGreaterThan(10)
    }
  }, 30_000)

  test('wrong usage ends with 2', async () => {
    for (const args of [
      [],
      ['nothing'],
      ['find'],
      ['get', 'a', 'b'],
      ['sample', 'houses'],
      ['sample', 'price-paid', '--rows', 'x'],
    ]) {
      expect((await hypha(args)).code, args.join(' ')).toBe(2)
    }
  })

  test('stats gives figures, again and again with --watch, until it is stopped', async () => {
    const database = join(scratch(), 'db')
    await done(['put', database, 'things', '{"id":1}'])
    expect(typeof JSON.parse(await done(['stats', database, '--json']))).toBe('object')
    expect((await done(['stats', database])).length).toBeGreaterThan(20)
    const child = start(['stats', database, '--watch', '--json', '--every', '50'])
    const result = ended(child)
    let seen = 0
    child.stdout?.on('data', () => {
      if (++seen === 3) child.kill('SIGINT')
    })
    const { code, stdout } = await result
    expect(stdout.trim().split('\n').length).toBeGreaterThanOrEqual(3)
    expect(code).toBe(0)
  })

  test('verify finds nothing wrong with a sound database', async () => {
    const database = join(scratch(), 'db')
    await done(['put', database, 'things', '{"id":1}'])
    expect(JSON.parse(await done(['verify', database, '--json']))).toMatchObject({ ok: true, faults: [] })
    expect(await done(['verify', database])).toContain('no faults')
  })

  test('sample honours whoever reads it, and a seed', async () => {
    expect(await done(['sample', 'price-paid', '--rows', '50', '--seed', '9'])).toBe(
      await done(['sample', 'price-paid', '--rows', '50', '--seed', '9']),
    )
    const child = start(['sample', 'price-paid', '--rows', '100000000'])
    child.stdout?.once('data', () => child.stdout?.destroy())
    const { code, stderr } = await ended(child)
    expect([code, stderr]).toEqual([0, ''])
  })
})
