/**
 * Repeatable randomness: xoshiro128** by Blackman and Vigna, seeded through splitmix32. 32-bit integers throughout, so
 * that the same seed gives the same rows on every machine.
 */
export class Random {
  private readonly state = new Int32Array(4)
  private spare: number | undefined

  constructor(seed: number) {
    let word = seed | 0
    for (let index = 0; index < 4; index++) {
      word = (word + 0x9e3779b9) | 0
      let mixed = word ^ (word >>> 16)
      mixed = Math.imul(mixed, 0x21f0aaad)
      mixed ^= mixed >>> 15
      mixed = Math.imul(mixed, 0x735a2d97)
      this.state[index] = mixed ^ (mixed >>> 15)
    }
  }

  /** 32 random bits as an unsigned integer. */
  next(): number {
    const s = this.state
    const s0 = s[0] as number
    const s1 = s[1] as number
    const s3 = s[3] as number
    const product = Math.imul(s1, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9)
    const s2 = (s[2] as number) ^ s0
    const newS3 = s3 ^ s1
    s[1] = s1 ^ s2
    s[0] = s0 ^ newS3
    s[2] = s2 ^ (s1 << 9)
    s[3] = (newS3 << 11) | (newS3 >>> 21)
    return result >>> 0
  }

  /** In [0, 1). */
  fraction(): number {
    return this.next() / 4294967296
  }

  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  /** A whole number in [from, to]. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.fraction() * (to - from + 1))
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.fraction() * items.length)] as T
  }

  /** Standard normal (polar method of Marsaglia). */
  normal(): number {
    if (this.spare !== undefined) {
      const value = this.spare
      this.spare = undefined
      return value
    }
    for (;;) {
      const x = this.fraction() * 2 - 1
      const y = this.fraction() * 2 - 1
      const square = x * x + y * y
      if (square >= 1 || square === 0) continue
      const factor = Math.sqrt((-2 * Math.log(square)) / square)
      this.spare = y * factor
      return x * factor
    }
  }
}

/** Picks indexes with given weights in constant time (alias method of Walker, as built by Vose). */
export class WeightedPick {
  private readonly probability: Float64Array
  private readonly alias: Int32Array

  constructor(weights: readonly number[]) {
    const count = weights.length
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    const scaled = weights.map(weight => (weight * count) / total)
    this.probability = new Float64Array(count).fill(1)
    this.alias = new Int32Array(count)
    const small: number[] = []
    const large: number[] = []
    for (const [index, value] of scaled.entries()) (value < 1 ? small : large).push(index)
    while (small.length > 0 && large.length > 0) {
      const less = small.pop() as number
      const more = large[large.length - 1] as number
      this.probability[less] = scaled[less] as number
      this.alias[less] = more
      scaled[more] = (scaled[more] as number) + (scaled[less] as number) - 1
      if ((scaled[more] as number) < 1) small.push(large.pop() as number)
    }
  }

  pick(random: Random): number {
    const index = Math.floor(random.fraction() * this.alias.length)
    return random.fraction() < (this.probability[index] as number) ? index : (this.alias[index] as number)
  }
}
