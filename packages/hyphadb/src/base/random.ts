/**
 * Randomness: one that cannot be guessed, for identities, and one that repeats from its seed, for tests and simulations.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { HyphaError } from './errors.js'

/** `length` unpredictable bytes in hexadecimal. */
export function randomHex(length: number): string {
  return randomBytes(length).toString('hex')
}

/** An unpredictable, positive int32: a nonce or salt that fits a word of shared memory, never 0. */
export function randomWord(): number {
  return randomInt(1, 0x7fffffff)
}

/** An unpredictable integer from 1 to 2^48 - 1: exact as a float64. */
export function randomNumber(): number {
  return randomInt(1, 0xffff_ffff_ffff)
}

/**
 * xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021), its state filled by
 * splitmix32 from the seed. Not for secrets.
 */
export class SeededRandom {
  readonly seed: number
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: number) {
    this.seed = seed
    let state = seed | 0
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0
      let z = state ^ (state >>> 16)
      z = Math.imul(z, 0x21f0aaad)
      z ^= z >>> 15
      z = Math.imul(z, 0x735a2d97)
      return z ^ (z >>> 15)
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    this.#d = next() | 1
  }

  /** 32 random bits as an unsigned number. */
  uint32(): number {
    const scrambled = Math.imul(this.#b, 5)
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }

  /** A number in [0, 1) with 32 random bits. */
  float(): number {
    return this.uint32() / 0x1_0000_0000
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.float() * bound)
  }

  /** An integer in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.float() < probability
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new HyphaError('HYPHA_INVALID', 'Cannot pick from an empty list')
    return items[this.below(items.length)] as T
  }

  /** Shuffles in place and returns the same array. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const held = items[i] as T
      items[i] = items[j] as T
      items[j] = held
    }
    return items
  }

  bytes(length: number): Buffer {
    const result = Buffer.allocUnsafe(length)
    for (let i = 0; i < length; i++) result[i] = this.uint32() >>> 24
    return result
  }

  /** An independent generator whose seed follows from this one's state: for parts that must not disturb each other. */
  fork(): SeededRandom {
    return new SeededRandom(this.uint32())
  }
}

/**
 * The seed of a randomized test: HYPHA_SEED when set, so that a failure can be repeated, else a fresh one. The test puts
 * it into its messages.
 */
export function testSeed(): number {
  const given = process.env['HYPHA_SEED']
  if (given === undefined || given === '') return randomWord()
  const seed = Number(given)
  if (!Number.isSafeInteger(seed)) throw new HyphaError('HYPHA_INVALID', 'HYPHA_SEED must be an integer')
  return seed
}
