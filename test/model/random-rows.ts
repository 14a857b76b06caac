/** Random keys and values for tests of the whole engine: all lengths, and what is hard on trees and large values. */
import type { SeededRandom } from 'hyphadb/internal/base/random.js'

/**
 * A fixed number of keys, so that updates and deletions meet rows that are there. All begin with the prefix; lengths go
 * from the bare prefix to the longest that the engine takes.
 */
export function keyPool(random: SeededRandom, count: number, prefix: string, longest: number): string[] {
  const keys = new Set<string>([prefix])
  for (let tries = 0; keys.size < count && tries < count * 20; tries++) {
    keys.add((prefix + randomTail(random, longest - prefix.length)).slice(0, longest))
  }
  return random.shuffle([...keys])
}

function randomTail(random: SeededRandom, longest: number): string {
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.between(0, 24)).toString('latin1')
    case 1:
      return String.fromCharCode(random.below(4), random.below(256), random.below(8)).slice(0, random.between(0, 3))
    case 2:
      return `user:${String(random.below(100_000)).padStart(8, '0')}`
    case 3:
      return `${'town/'.repeat(random.between(1, 3))}${random.below(1000)}/${random.below(20)}`
    case 4:
      return 'a'.repeat(random.between(0, Math.min(longest, 300)))
    case 5:
      return `${'\0'.repeat(random.between(0, 9))}${String.fromCharCode(random.below(3))}`
    case 6:
      return `${'p'.repeat(Math.max(0, longest - random.between(2, 5)))}${random.bytes(5).toString('latin1')}`
    default:
      return random.bytes(8).toString('latin1')
  }
}

/** Lengths: none, short as a rule, around the limits of a page, several pages, now and then up to `largest`. */
export function randomValue(random: SeededRandom, pageSize: number, largest: number): Buffer {
  const dice = random.below(100)
  if (dice < 6) return Buffer.alloc(0)
  if (dice < 66) return patterned(random, random.between(1, 120))
  if (dice < 80) return patterned(random, random.between(1, pageSize >> 2))
  if (dice < 90) return patterned(random, Math.max(0, (pageSize >> 2) - random.below(400)))
  if (dice < 98) return patterned(random, random.between(pageSize >> 2, Math.min(largest, pageSize * 5)))
  return patterned(random, random.between(1, largest))
}

/** Bytes that are quick to make and never repeat, so that pages in the wrong order show. */
export function patterned(random: SeededRandom, length: number): Buffer {
  const words = new Uint32Array((length + 3) >> 2)
  let word = random.uint32()
  for (let i = 0; i < words.length; i++) {
    word = (word + 0x9e3779b9) >>> 0
    words[i] = word
  }
  return Buffer.from(words.buffer, 0, length)
}
