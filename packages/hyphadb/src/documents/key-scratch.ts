/**
 * Memory for keys: a scratch buffer for those that are needed for the length of a call, and slabs for those that are kept
 * (the engine keeps what it is given to write). A slab is never written twice.
 */
import { HyphaError } from '../base/errors.js'
import { encodeIndexValue, encodeKey, wasInexact } from './keys.js'

const SLAB_BYTES = 32 * 1024
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
let slabUsed = 0

/** Private memory for a key that outlives the call; slabs are never written twice. */
function takeFromSlab(bytes: number): Uint8Array {
  if (slabUsed + bytes > slab.length) {
    slab = Buffer.allocUnsafeSlow(bytes > SLAB_BYTES ? bytes : SLAB_BYTES)
    slabUsed = 0
  }
  const taken = new Uint8Array(slab.buffer, slab.byteOffset + slabUsed, bytes)
  slabUsed += bytes
  return taken
}

/** Views of short keys are made once for each length: a view costs more than all else in writing a short key. */
const VIEW_BYTES = 64

/** Up to here a loop copies faster than a call into the runtime with its `subarray`. */
const LOOP_BYTES = 40

/** A buffer for keys that are needed for the length of one call, grown as they need it, bounded by the engine's limit. */
export class KeyScratch {
  buffer: Buffer = Buffer.allocUnsafeSlow(512)
  /** About the value that `appendIndexed` wrote last: decoding would not give it back exactly. */
  wasInexact = false

  /** Of the buffer's first bytes, by length. */
  private readonly views: Uint8Array[] = []

  constructor(readonly maximumBytes: number) {}

  /** A view of the encoded key; good until the next call. */
  encode(value: unknown, path: string): Uint8Array {
    const end = this.append(value, 0, path) // may grow the buffer
    if (end > VIEW_BYTES) return this.buffer.subarray(0, end)
    return (this.views[end] ??= this.buffer.subarray(0, end))
  }

  /** The encoded key in memory of its own. */
  encodeCopy(value: unknown, path: string): Uint8Array {
    return this.copyWith(this.append(value, 0, path))
  }

  /** Writes at `offset`, behind what stands there; returns the end. */
  append(value: unknown, offset: number, path: string): number {
    for (;;) {
      const end = encodeKey(value, this.buffer, offset, path)
      if (end >= 0 && end <= this.maximumBytes) return end
      this.grow(end, path)
    }
  }

  appendIndexed(value: unknown, offset: number, path: string): number {
    for (;;) {
      const end = encodeIndexValue(value, this.buffer, offset, path)
      if (end >= 0 && end <= this.maximumBytes) {
        this.wasInexact = wasInexact()
        return end
      }
      this.grow(end, path)
    }
  }

  appendTag(tag: number, offset: number): number {
    while (offset >= this.buffer.length) this.grow(-1, '')
    this.buffer[offset] = tag
    return offset + 1
  }

  /** A copy of the first `end` bytes, followed by `tail`. */
  copyWith(end: number, tail?: Uint8Array): Uint8Array {
    const tailLength = tail === undefined ? 0 : tail.length
    const length = end + tailLength
    if (length > this.maximumBytes) throw this.tooLong('')
    const copy = takeFromSlab(length)
    if (end <= LOOP_BYTES) {
      for (let i = 0; i < end; i++) copy[i] = this.buffer[i]
    } else {
      copy.set(this.buffer.subarray(0, end))
    }
    if (tail !== undefined) {
      if (tailLength <= LOOP_BYTES) {
        for (let i = 0; i < tailLength; i++) copy[end + i] = tail[i]
      } else {
        copy.set(tail, end)
      }
    }
    return copy
  }

  private grow(end: number, path: string): void {
    if (end >= 0 || this.buffer.length > this.maximumBytes + 16) throw this.tooLong(path)
    const grown = Buffer.allocUnsafeSlow(Math.min(this.buffer.length * 2, this.maximumBytes + 32))
    this.buffer.copy(grown)
    this.buffer = grown
    this.views.length = 0
  }

  private tooLong(path: string): HyphaError {
    const where = path === '' ? "An index entry (its values and the document's key)" : `The key at '${path}'`
    return new HyphaError(
      'HYPHA_INVALID',
      `${where} is longer than the ${this.maximumBytes} bytes that a key may have with this page size`,
    )
  }
}
