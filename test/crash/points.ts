/**
 * The named fault points of the library, read from its sources, so that a new one without a test is noticed; and where in
 * the life of a process each is passed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCES = fileURLToPath(new URL('../../../packages/hyphadb/src', import.meta.url))
const CALL = /\b(?:faultPoint|point)\('([^']+)'\)/g

/** All names, sorted. */
export function allFaultPoints(): string[] {
  const names = new Set<string>()
  for (const path of readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts') || path.includes('.test')) continue
    for (const [, name] of readFileSync(join(SOURCES, path), 'utf8').matchAll(CALL)) names.add(name as string)
  }
  return [...names].sort()
}

export type Stage = 'opening' | 'repairing' | 'switching' | 'running'

export function stageOf(name: string): Stage {
  if (/^(open|recovery)\./.test(name)) return 'opening'
  if (name.startsWith('generation.')) return 'switching'
  return name.startsWith('repair.') ? 'repairing' : 'running'
}

export function pointsOf(stage: Stage): string[] {
  return allFaultPoints().filter(name => stageOf(name) === stage)
}

/** How often the point is passed before it acts: a few times more where it is passed often, differently in each run. */
export function passagesBefore(name: string, seed: number): number {
  const often =
    /^(mtr|commit|flush|allocator|log-write|pool|evict|overflow)/.test(name) && name !== 'allocator.extended'
  return often ? 1 + ((Math.imul(seed ^ name.length, 0x9e3779b1) >>> 8) % 40) : 1
}
