/**
 * Who a process is, beyond its number: numbers are reused, and mean different processes in different containers. For
 * identities and messages only; whether somebody is alive is decided by byte locks.
 */
import { readFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'

let cachedBootId: string | undefined

/** Changes with every start of the machine; empty where /proc does not tell. */
export function bootId(): string {
  cachedBootId ??= readText('/proc/sys/kernel/random/boot_id').trim()
  return cachedBootId
}

/** Clock ticks from boot to the start of a process, or -1 when there is no such process. With the pid, unique per boot. */
export function processStartTicks(pid: number): number {
  const fields = statFields(pid)
  return fields === undefined ? -1 : Number(fields[19])
}

export type ProcessState = 'running' | 'stopped' | 'dead' | 'missing'

/** What a process is doing, as far as this PID namespace can see it. */
export function processState(pid: number): ProcessState {
  const state = statFields(pid)?.[0]
  if (state === undefined) return 'missing'
  if (state === 'T' || state === 't') return 'stopped'
  if (state === 'Z' || state === 'X' || state === 'x') return 'dead'
  return 'running'
}

/** A process for a message: "pid 4711 (node, stopped)". */
export function describeProcess(pid: number): string {
  const name = readText(`/proc/${pid}/comm`).trim()
  return name === '' ? `pid ${pid}` : `pid ${pid} (${name}, ${processState(pid)})`
}

/** The fields of /proc/<pid>/stat from the third (state) on; the second, the name, may contain anything. */
function statFields(pid: number): string[] | undefined {
  const line = readText(`/proc/${pid}/stat`)
  if (line === '') return undefined
  return line.slice(line.lastIndexOf(')') + 2).split(' ')
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** This thread: what a participant's slot says about its owner. */
export interface ThreadIdentity {
  readonly pid: number
  readonly threadId: number
  readonly startTicks: number
}

export function currentThread(): ThreadIdentity {
  return { pid: process.pid, threadId, startTicks: processStartTicks(process.pid) }
}
