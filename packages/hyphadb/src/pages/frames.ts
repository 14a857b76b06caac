/**
 * The words of a frame, in dense arrays in the control segment so that sweeps touch few cache lines.
 *
 * | array | entry | meaning |
 * |---|---|---|
 * | state | Int32 | kind, or kind with the owner's token above it |
 * | dirty | Int32 | version of the last change, with bit 0 set, if that change is not on disk; 0 = clean |
 * | epoch | Int32 | of a dirty page: the epoch to which its changes belong |
 * | flush | Int32 | token of who is writing this frame's image; 0 = nobody |
 * | page | Int32 | page that the frame holds or is about to hold |
 * | ref | Uint8 | bit 0: used since the hand came by; above it: rounds left by kind |
 *
 * ```
 *            claim (CAS)         bytes in place, then version even
 *   FREE ─────────────► CLAIMED ─────────────────────────────► RESIDENT ◄───────┐
 *    ▲                     ▲                                    │  ▲  │         │ end of
 *    │ released            │ CAS, clean                   CAS   │  │  │ CAS     │ mini-transaction
 *    └─────────────────────┼──────────────── EVICTING ◄─────────┘  │  └──► LOCKED
 *                          └──────────────────  │ └────────────────┘
 *                                               └─ was dirty, or a committer took it (CAS to LOCKED)
 *   CLAIMED ─► ORPHAN: a committer could not wait for the loader and loads the page elsewhere; the loader frees the frame.
 *   SHADOW: the image of a page as of the checkpoint in progress; nobody reads it but the flusher.
 * ```
 * Invariants
 * 1. frameOf[page] alone says which frame holds a page; a frame whose page does not point back is an orphan of its owner.
 * 2. The version of a FREE or CLAIMED frame is odd: no reader can validate against it.
 * 3. A page's bytes change, and it becomes dirty, only under LOCKED, by the holder of the commit latch. A flusher clears
 *    the mark by compareExchange against the version that it wrote: a change in between keeps the page dirty.
 * 4. Versions are never reset, so a reader that was overtaken always notices.
 */
import type { ControlMemory } from '../memory/control-memory.js'
import type { Geometry } from '../memory/layout.js'

export const FRAME_FREE = 0
export const FRAME_RESIDENT = 1
export const FRAME_CLAIMED = 2
export const FRAME_EVICTING = 3
export const FRAME_LOCKED = 4
export const FRAME_SHADOW = 5
export const FRAME_ORPHAN = 6

const KIND_BITS = 3
const KIND_MASK = 7

/** A state with its owner. Tokens stay below 2^28 so that the word is a positive int32. */
export function owned(kind: number, token: number): number {
  return (token << KIND_BITS) | kind
}

export function kindOf(state: number): number {
  return state & KIND_MASK
}

export function ownerOf(state: number): number {
  return state >>> KIND_BITS
}

export class Frames {
  readonly state: Int32Array
  readonly dirty: Int32Array
  readonly epoch: Int32Array
  readonly flush: Int32Array
  readonly page: Int32Array
  readonly ref: Uint8Array

  constructor(control: ControlMemory, geometry: Geometry) {
    const bytes = control.u8.buffer
    const { framesMax } = geometry
    this.state = new Int32Array(bytes, geometry.frameStateOffset, framesMax)
    this.dirty = new Int32Array(bytes, geometry.frameDirtyOffset, framesMax)
    this.epoch = new Int32Array(bytes, geometry.frameEpochOffset, framesMax)
    this.flush = new Int32Array(bytes, geometry.frameFlushOffset, framesMax)
    this.page = new Int32Array(bytes, geometry.framePageOffset, framesMax)
    this.ref = new Uint8Array(bytes, geometry.frameRefOffset, framesMax)
  }
}
