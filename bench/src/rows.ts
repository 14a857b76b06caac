/** A row of the result, as JSON has it. */
import type { Outcome } from './jobs/job.js'
import { median, type Sample, sampleOf } from './statistics.js'
import type { Target, Workload } from './workloads.js'

export interface Row {
  readonly workload: string
  readonly unit: string
  readonly better: 'more' | 'less'
  /** Median of the runs; null when it failed. */
  readonly hypha: number | null
  /** Medians of the peers. */
  readonly peers: Readonly<Record<string, number>>
  /** The peer with the best median; null without one. */
  readonly best: string | null
  /** Ours to the best peer's, over 1 where we are faster; null without a peer. */
  readonly ratio: number | null
  /** Median processor time of one operation, in microseconds, all threads of the process added. */
  readonly cpuMicros: Readonly<Record<string, number>>
  /** Smallest and largest figure of each. */
  readonly spread: Readonly<Record<string, { min: number; max: number; runs: number }>>
  readonly settings: Readonly<Record<string, string>>
  readonly target: Target | null
  /** Whether the target was reached; null without one, or with nothing to compare. */
  readonly reached: boolean | null
  readonly note: string | null
  /** What else a store told of its last run. */
  readonly extra: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** Why a store has no figure. */
  readonly failures: Readonly<Record<string, string>>
}

/** Everything that the runs of one workload gave, by store. */
export interface Measured {
  readonly values: ReadonlyMap<string, readonly number[]>
  readonly cpu: ReadonlyMap<string, readonly number[]>
  readonly extras: ReadonlyMap<string, Outcome['extra']>
  readonly failures: ReadonlyMap<string, string>
}

export function rowOf(
  workload: Workload,
  settings: Readonly<Record<string, string>>,
  { values, cpu, extras, failures }: Measured,
): Row {
  const samples = new Map<string, Sample>([...values].map(([store, each]) => [store, sampleOf(each)]))
  const peers: Record<string, number> = {}
  for (const [store, { median }] of samples) if (store !== 'hypha') peers[store] = median
  const ours = samples.get('hypha')?.median ?? null
  const best = bestOf(peers, workload.better)
  const ratio =
    ours === null || best === null ? null : workload.better === 'more' ? ours / peers[best]! : peers[best]! / ours
  return {
    workload: workload.name,
    unit: workload.unit,
    better: workload.better,
    hypha: ours,
    peers,
    best,
    ratio,
    cpuMicros: Object.fromEntries([...cpu].map(([store, each]) => [store, median(each)])),
    spread: Object.fromEntries([...samples].map(([store, { min, max, runs }]) => [store, { min, max, runs }])),
    settings,
    target: workload.target ?? null,
    reached: workload.target === undefined || ours === null ? null : reaches(workload.target, ours, ratio),
    note: workload.note ?? null,
    extra: Object.fromEntries([...extras].flatMap(([store, extra]) => (extra === undefined ? [] : [[store, extra]]))),
    failures: { ...workload.without, ...Object.fromEntries(failures) },
  }
}

function bestOf(peers: Readonly<Record<string, number>>, better: 'more' | 'less'): string | null {
  let best: string | null = null
  for (const [name, value] of Object.entries(peers)) {
    if (best === null || (better === 'more' ? value > peers[best]! : value < peers[best]!)) best = name
  }
  return best
}

function reaches(target: Target, ours: number, ratio: number | null): boolean | null {
  if ('atLeast' in target) return ours >= target.atLeast
  if ('atMost' in target) return ours <= target.atMost
  return ratio === null ? null : ratio >= target.ratio
}

export function targetText(target: Target | null): string {
  if (target === null) return ''
  if ('ratio' in target) return `${target.ratio.toFixed(1)}×`
  return 'atLeast' in target ? `≥ ${figure(target.atLeast)}` : `≤ ${figure(target.atMost)}`
}

/** A number in few digits: 1,234,567 as 1.23 M. */
export function figure(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`
  if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`
  if (value >= 100) return value.toFixed(0)
  return value.toPrecision(3)
}
