/** What a tree has to say when it cannot go on. */
import { HyphaError } from '../base/errors.js'

/** For bytes that validate and are nonsense all the same. */
export function corruptNode(tableId: number, pageId: number, what: string): HyphaError {
  return new HyphaError(
    'HYPHA_CORRUPT',
    `Page ${pageId} of table ${tableId} is damaged: ${what}. Run 'hypha verify', and restore the table from a backup`,
  )
}

/** For a version that has been trimmed: the reader held no snapshot, or lost it. */
export function snapshotTooOld(): HyphaError {
  return new HyphaError(
    'HYPHA_SNAPSHOT_TOO_OLD',
    'A version that this snapshot needs has been given up. Read again from a new snapshot',
  )
}
