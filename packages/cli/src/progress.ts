/**
 * Progress of a long command on stderr: one line redrawn in place on a terminal, a plain line every few seconds
 * elsewhere, nothing at all for `--json`. Nothing is shown during the first second.
 */
import type { WriteStream } from 'node:tty'

const FIRST_MS = 1000
const REDRAW_MS = 100
const PLAIN_MS = 5000
const BAR_WIDTH = 24

export interface ProgressState {
  /** Bytes of the input read so far. */
  bytes: number
  /** Bytes of the whole input; 0 when unknown. */
  totalBytes: number
  records: number
  rejected: number
}

export type ProgressMode = 'auto' | 'silent'

export class Progress {
  private readonly started = performance.now()
  private shownAt: number
  private hasBar = false
  private readonly isTerminal: boolean

  constructor(
    private readonly label: string,
    private readonly mode: ProgressMode,
    private readonly stream = process.stderr,
  ) {
    this.isTerminal = (stream as Partial<WriteStream>).isTTY === true
    this.shownAt = this.started + FIRST_MS - (this.isTerminal ? REDRAW_MS : PLAIN_MS)
  }

  /** Cheap; draws only when it is time. */
  update(state: ProgressState): void {
    if (this.mode === 'silent') return
    const now = performance.now()
    if (now - this.shownAt < (this.isTerminal ? REDRAW_MS : PLAIN_MS)) return
    this.shownAt = now
    const line = describe(this.label, state, (now - this.started) / 1000, this.isTerminal)
    if (this.isTerminal) {
      this.hasBar = true
      this.stream.write(`\r\x1b[2K${line.slice(0, (this.stream.columns ?? 80) - 1)}`)
    } else {
      this.stream.write(`${line}\n`)
    }
  }

  /** Takes the bar away. */
  end(): void {
    if (this.hasBar) this.stream.write('\r\x1b[2K')
    this.hasBar = false
  }
}

export function describe(label: string, state: ProgressState, seconds: number, withBar: boolean): string {
  const parts = [label]
  const share = state.totalBytes > 0 ? Math.min(1, state.bytes / state.totalBytes) : undefined
  if (share !== undefined) {
    if (withBar) parts.push(bar(share))
    parts.push(`${Math.floor(share * 100)} %`)
  }
  parts.push(`${grouped(state.records)} records`)
  if (seconds > 0) parts.push(`${grouped(Math.round(state.records / seconds))}/s`)
  if (state.rejected > 0) parts.push(`${grouped(state.rejected)} rejected`)
  if (share !== undefined && share > 0.02 && share < 1)
    parts.push(`${Math.ceil((seconds / share) * (1 - share))} s left`)
  return parts.join('  ')
}

function bar(share: number): string {
  const full = Math.round(share * BAR_WIDTH)
  return `[${'='.repeat(full)}${' '.repeat(BAR_WIDTH - full)}]`
}

/** 1234567 as `1,234,567`. */
export function grouped(number: number): string {
  return number.toLocaleString('en-GB')
}
