/**
 * Ids for documents that bring none: 18 characters that sort by the time of their making.
 *
 * | characters | bits | what |
 * |---|---|---|
 * | 0..7   | 48 | milliseconds since 1970; never goes back within a thread, whatever the clock does |
 * | 8..11  | 24 | counter within the thread, so ids of one millisecond keep their order |
 * | 12..17 | 36 | random, drawn once by each thread: two threads that share millisecond and counter differ here |
 *
 * The alphabet is in ASCII order, so the ids order as strings, as keys and as file names.
 */
import { randomBytes } from 'node:crypto'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~'
const COUNTER_LIMIT = 1 << 24

function digits(value: number, count: number): string {
  let text = ''
  let rest = value
  for (let i = 0; i < count; i++) {
    const digit = rest % 64
    text = ALPHABET.charAt(digit) + text
    rest = (rest - digit) / 64
  }
  return text
}

function randomSuffix(): string {
  let text = ''
  for (const byte of randomBytes(6)) text += ALPHABET.charAt(byte & 63)
  return text
}

/** Makes a generator; the clock is a parameter for tests. */
export function createIdGenerator(now: () => number = Date.now, suffix: string = randomSuffix()): () => string {
  let lastTime = -1
  let counter = 0
  let timeText = ''
  return () => {
    const time = now()
    if (time > lastTime) {
      lastTime = time
      timeText = digits(time, 8)
      counter = 0
    } else if (counter === COUNTER_LIMIT) {
      lastTime++
      timeText = digits(lastTime, 8)
      counter = 0
    }
    return timeText + digits(counter++, 4) + suffix
  }
}

/** A new id, larger than every one that this thread made before. */
export const createId: () => string = createIdGenerator()
