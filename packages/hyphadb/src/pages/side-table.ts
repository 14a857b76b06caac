/**
 * Blocks of the checkpoint in progress whose pages have been written again for the next one. While checkpoint e is being
 * written, a page flushed with its image of e + 1 leaves its block of e here, and the map chunk of e takes it from here.
 *
 * Open addressing over pairs (page id, block + 1), empty = 0, in the control segment.
 * Thread safety: changed by the holder of the allocator latch; read by the checkpointer, who takes the latch for it.
 */
import { assert } from '../base/assert.js'
import type { ControlMemory } from '../memory/control-memory.js'
import { type Geometry, SIDE_COUNT_I } from '../memory/layout.js'

export class SideTable {
  readonly #i32: Int32Array
  readonly #first: number
  readonly #mask: number

  constructor(control: ControlMemory, geometry: Geometry) {
    this.#i32 = control.i32
    this.#first = geometry.sideOffset >> 2
    this.#mask = geometry.sideCapacity - 1
    assert((geometry.sideCapacity & this.#mask) === 0, 'the side table is a power of two')
  }

  get count(): number {
    return this.#i32[SIDE_COUNT_I] as number
  }

  /** Kept half empty: beyond that, flushing for the next epoch waits for the checkpoint. */
  get full(): boolean {
    return this.count > this.#mask >> 1
  }

  #slot(page: number): number {
    let at = Math.imul(page, 0x9e3779b1) >>> 7
    for (;;) {
      const word = this.#first + (at & this.#mask) * 2
      const found = this.#i32[word] as number
      if (found === page || found === 0) return word
      at++
    }
  }

  /** The block of the page in the checkpoint in progress, or -1 when it has not been written again since. */
  get(page: number): number {
    const word = this.#slot(page)
    return (this.#i32[word] as number) === page ? (this.#i32[word + 1] as number) - 1 : -1
  }

  /** Repeating it changes nothing: the repairer does. */
  set(page: number, block: number): void {
    const word = this.#slot(page)
    this.#i32[word + 1] = block + 1
    if ((this.#i32[word] as number) !== page) {
      this.#i32[SIDE_COUNT_I] = this.count + 1
      this.#i32[word] = page
    }
  }

  forEach(visit: (page: number, block: number) => void): void {
    for (let i = 0; i <= this.#mask; i++) {
      const word = this.#first + i * 2
      const page = this.#i32[word] as number
      if (page !== 0) visit(page, (this.#i32[word + 1] as number) - 1)
    }
  }

  clear(): void {
    this.#i32.fill(0, this.#first, this.#first + (this.#mask + 1) * 2)
    this.#i32[SIDE_COUNT_I] = 0
  }
}
