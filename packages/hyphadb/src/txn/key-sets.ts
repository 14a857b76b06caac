/**
 * Sets of keys for one transaction, without making a text of each key: open addressing over a hash of the bytes. A text
 * key costs about 60 ns to make and twice that in a Map; these cost a third, and little garbage.
 */

const FNV_PRIME = 0x01000193
const FNV_BASIS = 0x811c9dc5 | 0
/** Of a long key so many bytes at either end are hashed. */
const HASHED_BYTES = 48
const FIRST_SLOTS = 64

/** FNV-1a over the bytes of a key (of a long one: over its ends and its length). */
function hashOf(key: Uint8Array): number {
  const { length } = key
  let hash = FNV_BASIS ^ length
  if (length <= HASHED_BYTES * 2) {
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (key[i] as number), FNV_PRIME)
  } else {
    for (let i = 0; i < HASHED_BYTES; i++) hash = Math.imul(hash ^ (key[i] as number), FNV_PRIME)
    for (let i = length - HASHED_BYTES; i < length; i++) hash = Math.imul(hash ^ (key[i] as number), FNV_PRIME)
  }
  return hash ^ (hash >>> 15)
}

function equal(a: Uint8Array, aStart: number, b: Uint8Array): boolean {
  const { length } = b
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[i]) return false
  return true
}

/** From keys to positions in a list that the caller keeps. Keys are referred to, not copied. */
export class KeyIndex {
  #slots = new Int32Array(FIRST_SLOTS)
  #hashes: number[] = []
  readonly #keyAt: (position: number) => Uint8Array
  #count = 0

  constructor(keyAt: (position: number) => Uint8Array) {
    this.#keyAt = keyAt
  }

  /** The position under which an equal key was added, or -1. */
  find(key: Uint8Array): number {
    const mask = this.#slots.length - 1
    const hash = hashOf(key)
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const position = (this.#slots[at] as number) - 1
      if (position < 0) return -1
      if (this.#hashes[position] !== hash) continue
      const known = this.#keyAt(position)
      if (known.length === key.length && equal(known, 0, key)) return position
    }
  }

  /** Adds a key that is not there, at the next position. */
  add(key: Uint8Array): void {
    const hash = hashOf(key)
    this.#hashes.push(hash)
    this.#count++
    if (this.#count * 2 > this.#slots.length) this.#grow()
    else this.#enter(hash, this.#count)
  }

  #enter(hash: number, value: number): void {
    const mask = this.#slots.length - 1
    let at = hash & mask
    while ((this.#slots[at] as number) !== 0) at = (at + 1) & mask
    this.#slots[at] = value
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 4)
    for (let i = 0; i < this.#count; i++) this.#enter(this.#hashes[i] as number, i + 1)
  }
}

/** A set that keeps copies of its keys, one behind the other. */
export class KeySet {
  #slab: Buffer = Buffer.allocUnsafe(1024)
  #used = 0
  /** Where each key begins, and behind the last one where it ends. */
  readonly #starts: number[] = [0]
  #slots = new Int32Array(FIRST_SLOTS)
  readonly #hashes: number[] = []

  get size(): number {
    return this.#hashes.length
  }

  has(key: Uint8Array): boolean {
    return this.#find(key, hashOf(key)) >= 0
  }

  /** False when it was there already. */
  add(key: Uint8Array): boolean {
    const hash = hashOf(key)
    if (this.#find(key, hash) >= 0) return false
    if (this.#used + key.length > this.#slab.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#slab.length * 2, this.#used + key.length))
      this.#slab.copy(grown, 0, 0, this.#used)
      this.#slab = grown
    }
    for (let i = 0; i < key.length; i++) this.#slab[this.#used + i] = key[i] as number
    this.#used += key.length
    this.#starts.push(this.#used)
    this.#hashes.push(hash)
    if (this.size * 2 > this.#slots.length) this.#grow()
    else this.#enter(hash, this.size)
    return true
  }

  *[Symbol.iterator](): Generator<Buffer> {
    for (let i = 0; i < this.size; i++) yield this.#slab.subarray(this.#starts[i], this.#starts[i + 1])
  }

  #find(key: Uint8Array, hash: number): number {
    const mask = this.#slots.length - 1
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const position = (this.#slots[at] as number) - 1
      if (position < 0) return -1
      if (this.#hashes[position] !== hash) continue
      const start = this.#starts[position] as number
      if ((this.#starts[position + 1] as number) - start === key.length && equal(this.#slab, start, key))
        return position
    }
  }

  #enter(hash: number, value: number): void {
    const mask = this.#slots.length - 1
    let at = hash & mask
    while ((this.#slots[at] as number) !== 0) at = (at + 1) & mask
    this.#slots[at] = value
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 4)
    for (const [i, hash] of this.#hashes.entries()) this.#enter(hash, i + 1)
  }
}
