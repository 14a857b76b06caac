/** What the processes of the generation tests are asked and answer. */
import type { FaultAction } from 'hyphadb/internal/base/fault-points.js'
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'

export interface MemberConfig {
  readonly name: string
  readonly directory: string
  readonly options: InternalOptions
  readonly journal: string
  /** Codes that steady work passes over. */
  readonly tolerated: readonly string[]
}

export type NamedFault = { name: string; count: number; action: Exclude<FaultAction, () => void> }

export type Ask =
  | { type: 'arm'; faults: NamedFault[] }
  /** A plain exception at the first passage of each. */
  | { type: 'armPlain'; names: string[] }
  | { type: 'once'; durability: 'commit' | 'none' }
  | { type: 'cursor'; rows: number }
  | { type: 'content'; journals: { name: string; path: string }[] }
  | {
      type:
        | 'disarm'
        | 'begin'
        | 'pause'
        | 'fill'
        | 'renew'
        | 'take'
        | 'held'
        | 'letGo'
        | 'endCursor'
        | 'holdTransaction'
        | 'releaseTransaction'
        | 'checkpoint'
        | 'verify'
        | 'standing'
        | 'close'
    }

export interface Outcome {
  /** '' when it succeeded, 'other' for what has no code. */
  code: string
  message: string
  milliseconds: number
}

export interface Standing {
  generation: number
  slot: number
  state: number
  name: string
  frames: number
  runs: number
}
