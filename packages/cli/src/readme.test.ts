/** The README's tour and its commands, run as they stand there. */
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { done, scratch } from './command.test-support.js'

const run = promisify(execFile)
const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
const HERE = fileURLToPath(new URL('.', import.meta.url))

function block(language: string): string {
  const found = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(README)?.[1]
  if (found === undefined) throw new Error(`the README has no block of ${language}`)
  return found
}

describe('the README', () => {
  test('its tour runs and prints what it says', async () => {
    // Beside the compiled package, where `hyphadb` and `zod` are found.
    const script = join(HERE, `readme-tour-${process.pid}.mjs`)
    writeFileSync(script, block('js'))
    onTestFinished(() => rmSync(script, { force: true }))
    const { stdout } = await run(process.execPath, [script], { cwd: scratch() })
    expect(stdout.trim().split('\n')).toEqual([
      '187500',
      'LEEDS',
      '520000 2024',
      '187500 2024',
      '2',
      'byTown',
      'LEEDS undefined',
      "[ '2024-05-17', 1 ] opened",
    ])
  })

  test('its commands run one after the other', async () => {
    const directory = scratch()
    const bin = join(directory, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'hypha'), `#!/bin/sh\nexec "${process.execPath}" "${join(HERE, 'main.js')}" "$@"\n`)
    chmodSync(join(bin, 'hypha'), 0o755)
    const { stdout } = await run('sh', ['-ec', block('sh')], {
      cwd: directory,
      env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    })
    expect(stdout).toContain('20,000 records in')
    expect(stdout).toContain('no faults')
    expect(readFileSync(join(directory, 'leeds.csv'), 'utf8')).toMatch(/^date,price,postcode\n\d{4}-/)
  }, 30_000)

  test('its table has the commands that there are', async () => {
    const listed = [...README.matchAll(/^\| `hypha (\w+)/gm)].map(match => match[1])
    const help = await done(['--help'])
    const offered = [...help.matchAll(/^ {2}(\w+) \[/gm)].map(match => match[1]).filter(name => name !== 'help')
    expect([...listed].sort()).toEqual([...offered].sort())
  })
})
