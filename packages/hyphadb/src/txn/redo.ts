/**
 * Applying log records to pages: recovery replays the log with it, and the repairer rolls a dead owner's commit forward.
 * Fragments of large transactions are gathered until their commit record comes.
 */
import { HyphaError } from '../base/errors.js'
import {
  OPERATION_DELETE,
  OPERATION_PUT,
  OPERATION_PUT_BEGIN,
  OPERATION_PUT_CONTINUE,
  OperationDecoder,
} from '../log/operation-decoder.js'
import type { RecordHeader } from '../log/record.js'
import type { Committer, Operation } from './committer.js'
import { CATALOG_TABLE } from './trees.js'

interface OpenValue {
  tableId: number
  key: Buffer
  derived: boolean
  value: Buffer
  filled: number
}

/** Operations of one transaction, from one record or several. */
export class OperationGatherer {
  readonly operations: Operation[] = []
  readonly #decoder = new OperationDecoder()
  #open: OpenValue | undefined

  /** Copies the operations of a record's body. */
  add(bytes: Uint8Array, start: number, end: number): void {
    const decoder = this.#decoder
    decoder.reset(bytes, start, end)
    while (decoder.next()) this.#take(decoder, bytes)
  }

  #take(decoder: OperationDecoder, bytes: Uint8Array): void {
    const { tableId, derived, keyStart, keyEnd, valueStart, valueEnd } = decoder
    switch (decoder.opcode) {
      case OPERATION_PUT:
        this.operations.push({
          tableId,
          derived,
          key: copy(bytes, keyStart, keyEnd),
          value: copy(bytes, valueStart, valueEnd),
        })
        return
      case OPERATION_DELETE:
        this.operations.push({ tableId, derived, key: copy(bytes, keyStart, keyEnd), value: undefined })
        return
      case OPERATION_PUT_BEGIN:
        this.#open = {
          tableId,
          derived,
          key: copy(bytes, keyStart, keyEnd),
          value: Buffer.allocUnsafeSlow(decoder.valueTotal),
          filled: 0,
        }
        this.#fill(bytes, valueStart, valueEnd)
        return
      case OPERATION_PUT_CONTINUE:
        this.#fill(bytes, valueStart, valueEnd)
        return
    }
  }

  #fill(bytes: Uint8Array, start: number, end: number): void {
    const open = this.#open
    if (open === undefined || open.filled + end - start > open.value.length) {
      throw new HyphaError('HYPHA_CORRUPT', 'A log record continues a value that no record began. Run `hypha verify`')
    }
    open.value.set(bytes.subarray(start, end), open.filled)
    open.filled += end - start
    if (open.filled < open.value.length) return
    const { tableId, key, derived, value } = open
    this.operations.push({ tableId, key, derived, value })
    this.#open = undefined
  }

  get complete(): boolean {
    return this.#open === undefined
  }
}

function copy(bytes: Uint8Array, start: number, end: number): Buffer {
  return Buffer.from(bytes.subarray(start, end))
}

/** Applies a transaction's operations with its sequence. Those that are applied already are skipped by the trees. */
export function redo(committer: Committer, operations: readonly Operation[], sequence: number): boolean {
  let catalogChanged = false
  for (const operation of operations) {
    committer.apply(operation, sequence)
    if (operation.tableId === CATALOG_TABLE) catalogChanged = true
  }
  return catalogChanged
}

/** Fragments that were read and whose commit has not come yet. */
export class OpenTransactions {
  readonly #open = new Map<number, OperationGatherer>()

  fragment(record: RecordHeader, bytes: Uint8Array): void {
    let gatherer = this.#open.get(record.transactionId)
    if (gatherer === undefined || record.fragmentIndex === 0) {
      gatherer = new OperationGatherer()
      this.#open.set(record.transactionId, gatherer)
    }
    gatherer.add(bytes, record.bodyStart, record.bodyEnd)
  }

  /** All operations of a commit record, with those of its fragments. */
  commit(record: RecordHeader, bytes: Uint8Array): Operation[] {
    let gatherer = new OperationGatherer()
    if (record.fragmentCount > 0) {
      const gathered = this.#open.get(record.transactionId)
      if (gathered === undefined) {
        throw new HyphaError(
          'HYPHA_CORRUPT',
          `The log has the end of transaction ${record.transactionId} and not its beginning. Run \`hypha verify\``,
        )
      }
      this.#open.delete(record.transactionId)
      gatherer = gathered
    }
    gatherer.add(bytes, record.bodyStart, record.bodyEnd)
    if (!gatherer.complete) {
      throw new HyphaError(
        'HYPHA_CORRUPT',
        'A transaction in the log ends in the middle of a value. Run `hypha verify`',
      )
    }
    return gatherer.operations
  }
}
