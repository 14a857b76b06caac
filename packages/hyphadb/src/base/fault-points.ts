/**
 * Named points at which a test may kill, stop or break a process: inside commit, split, eviction, checkpoint, recovery,
 * repair. Off unless HYPHA_FAULT is set (or a test arms one): then a point costs one comparison.
 *
 * HYPHA_FAULT = name:count:action[,...]: at the count-th passage of `name` do `action`:
 * kill (SIGKILL), stop (SIGSTOP), throw (an exception), stack (a stack overflow), memory (a RangeError of the allocator).
 */

export type FaultAction = 'kill' | 'stop' | 'throw' | 'stack' | 'memory' | (() => void)

interface Armed {
  remaining: number
  action: FaultAction
}

const armed = new Map<string, Armed>()

/** True when any point is armed. Read it before calling `faultPoint` on hot paths. */
export const faults: { armed: boolean; passed: Map<string, number> | undefined } = { armed: false, passed: undefined }

export class InjectedFault extends Error {}

export function armFault(name: string, count: number, action: FaultAction): void {
  armed.set(name, { remaining: count, action })
  faults.armed = true
}

export function disarmFaults(): void {
  armed.clear()
  faults.armed = faults.passed !== undefined
}

/** Counts passages instead of acting: tests use it to learn which points a workload visits. */
export function countFaultPoints(): Map<string, number> {
  faults.passed = new Map()
  faults.armed = true
  return faults.passed
}

export function faultPoint(name: string): void {
  if (!faults.armed) return
  if (faults.passed !== undefined) faults.passed.set(name, (faults.passed.get(name) ?? 0) + 1)
  const point = armed.get(name)
  if (point === undefined || --point.remaining !== 0) return
  armed.delete(name)
  act(name, point.action)
}

function act(name: string, action: FaultAction): void {
  if (typeof action === 'function') {
    action()
    return
  }
  switch (action) {
    case 'kill':
      process.kill(process.pid, 'SIGKILL')
      break
    case 'stop':
      process.kill(process.pid, 'SIGSTOP')
      break
    case 'throw':
      throw new InjectedFault(`fault injected at ${name}`)
    case 'stack':
      overflow(0)
      break
    case 'memory':
      throw new RangeError('Array buffer allocation failed')
  }
}

function overflow(depth: number): number {
  return overflow(depth + 1) + 1
}

for (const part of (process.env['HYPHA_FAULT'] ?? '').split(',')) {
  const [name, count, action] = part.split(':')
  if (name !== undefined && name !== '' && action !== undefined) armFault(name, Number(count), action as FaultAction)
}
