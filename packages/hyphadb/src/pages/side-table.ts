/**
 * Blocks of the checkpoint in progress whose pages have been written again for the next one. While checkpoint e is being
 * written, a page flushed with its image of e + 1 leaves its block of e here, and the map chunk of e takes it from here.
 *
 * An array of the page directory: `sideOf[page]` = block + 1, 0 = not here. As large as the directory, so it is never full
 * and flushing for the next epoch never has to wait for the checkpoint.
 *
 * Thread safety: changed by the holder of the allocator latch; read by the checkpointer, who takes the latch for it.
 */
import * as L from '../memory/layout.js'
import type { Region } from '../memory/region.js'

export class SideTable {
  readonly #i32: Int32Array

  constructor(readonly region: Region) {
    this.#i32 = region.control.i32
  }

  /** Entries; after a death one too many at the most, never 0 while there is one. */
  get count(): number {
    return this.#i32[L.SIDE_COUNT_I] as number
  }

  /** The block of the page in the checkpoint in progress, or -1 when it has not been written again since. */
  get(page: number): number {
    return this.count === 0 ? -1 : (this.region.sideOf[page] as number) - 1
  }

  /** Repeating it changes nothing: the repairer does. */
  set(page: number, block: number): void {
    if (this.region.sideOf[page] === 0) this.#i32[L.SIDE_COUNT_I] = this.count + 1
    this.region.sideOf[page] = block + 1
  }

  forEach(visit: (page: number, block: number) => void): void {
    if (this.count === 0) return
    const { sideOf } = this.region
    const limit = this.#i32[L.PAGE_LIMIT_I] as number
    for (let page = 1; page < limit; page++) {
      const entry = sideOf[page] as number
      if (entry !== 0) visit(page, entry - 1)
    }
  }

  clear(): void {
    if (this.count === 0) return
    this.region.sideOf.fill(0, 0, this.#i32[L.PAGE_LIMIT_I] as number)
    this.#i32[L.SIDE_COUNT_I] = 0
  }
}
