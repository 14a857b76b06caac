/** Runs `hypha` as a process of its own, as a user would, and makes directories that go away after the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export function start(args: readonly string[], input: 'pipe' | 'ignore' = 'ignore'): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: [input, 'pipe', 'pipe'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return child
}

export async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return await new Promise(resolve => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })))
}

/** Runs to the end, with text for its stdin if there is any. */
export async function hypha(args: readonly string[], input?: string | Buffer): Promise<Ended> {
  const child = start(args, input === undefined ? 'ignore' : 'pipe')
  // A command that ends early closes its stdin under us.
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(input)
  return await ended(child)
}

/** Runs to the end and expects success. */
export async function done(args: readonly string[], input?: string | Buffer): Promise<string> {
  const result = await hypha(args, input)
  if (result.code !== 0)
    throw new Error(`hypha ${args.join(' ')} ended with ${result.code ?? result.signal ?? '?'}: ${result.stderr}`)
  return result.stdout
}

/** The lines of a JSON lines output. */
export function rows(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Record<string, unknown>)
}

export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'hypha-cli-test-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function fileIn(directory: string, name: string, content: string | Buffer): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}
