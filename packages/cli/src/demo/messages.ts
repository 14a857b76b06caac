/**
 * What the processes of the demonstration say to each other, over the channel that `fork` makes. The parent says only
 * `stop`; a child that loses its parent ends by itself.
 */

export interface ReaderReport {
  readonly kind: 'reader'
  readonly queries: number
  /** The longest that a single query took, from call to answer. */
  readonly longestStallMs: number
  /** The same, after the moment when the parent announced the kill. */
  readonly longestStallAfterKillMs: number
  /** What a reader saw that must never be seen. */
  readonly inconsistencies: readonly string[]
}

export type ChildMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly records: number; readonly bytes: number; readonly totalBytes: number }
  | { readonly kind: 'imported'; readonly records: number; readonly rejected: number; readonly seconds: number }
  | { readonly kind: 'acknowledged'; readonly transfer: number }
  | { readonly kind: 'written'; readonly transfers: number }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
  | ReaderReport

export type ParentMessage = { readonly kind: 'killed' } | { readonly kind: 'stop' }

/** Child's side. Resolves when the message has been handed to the system. */
export async function tellParent(message: ChildMessage): Promise<void> {
  await new Promise<void>(resolve => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}

export function onParent(handle: (message: ParentMessage) => void): void {
  process.on('message', message => handle(message as ParentMessage))
  process.on('disconnect', () => handle({ kind: 'stop' }))
}
