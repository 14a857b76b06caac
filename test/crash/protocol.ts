/** What the parent and its processes say to each other. Acknowledgements go by a file (journal.ts): that survives a kill. */
import type { InternalOptions } from 'hyphadb/internal/engine/options.js'

export type Role = 'writer' | 'reader' | 'importer' | 'holder' | 'idle'

export interface MemberConfig {
  readonly directory: string
  readonly journals: string
  readonly name: string
  readonly role: Role
  readonly seed: number
  readonly options: InternalOptions
  /** Runs housekeeping rounds and checkpoints on its own thread, between its transactions. */
  readonly care?: boolean
  /** Begins its role at once; otherwise with the request 'begin'. */
  readonly begin?: boolean
}

/** Who is checked. */
export interface Subject {
  readonly kind: 'writer' | 'importer'
  readonly name: string
}

/** What must be there: everything acknowledged, and nothing that was not begun. */
export interface Expectation extends Subject {
  readonly acknowledged: number
  readonly started: number
}

export interface Progress {
  readonly operations: number
  /** Longest single operation, and which one it was. */
  readonly longestMs: number
  readonly longest: string
  readonly busy: number
  readonly errors: string[]
  /** Fault points passed, by name, when asked for by 'count'. */
  readonly passed: Record<string, number>
}

export type Request =
  | { type: 'begin' }
  | { type: 'pause' }
  /** With `after`: the first passage of `name` that follows the count-th one of `after`. */
  | { type: 'arm'; name: string; count: number; action: 'kill' | 'stop'; after?: string }
  | { type: 'endure'; name: string; count: number; action: 'throw' | 'stack' | 'memory'; transactions: number }
  | { type: 'disarm' }
  | { type: 'count' }
  | { type: 'progress'; reset?: boolean }
  | { type: 'hold' }
  | { type: 'held' }
  | { type: 'check'; subjects: Subject[] }
  | { type: 'verify' }
  | { type: 'write'; transactions: number; durability: 'commit' | 'none' }
  | { type: 'tryWrite' }
  | { type: 'read'; milliseconds: number }
  | { type: 'latches' }
  | { type: 'housekeep' }
  | { type: 'renew' }
  | { type: 'checkpoint' }
  | { type: 'close' }

export interface TryWriteResult {
  readonly ok: boolean
  readonly code: string
  readonly message: string
  readonly milliseconds: number
}

export interface ReadResult {
  readonly reads: number
  readonly longestMs: number
  readonly errors: string[]
}

/** What a process that broke down at a fault point says of it. */
export interface EndureResult {
  readonly reached: boolean
  /** Errors that the application saw and that were not the injected one. */
  readonly errors: string[]
}

/** Process ids of the latches' holders, 0 when free. */
export interface LatchHolders {
  readonly commit: number
  readonly allocator: number
  readonly checkpoint: number
  readonly logWrite: number
  readonly logAllocation: number
}

export type Numbered = Request & { id: number }

export interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}
