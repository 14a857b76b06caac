/**
 * Cuts a stream of bytes into blocks of whole lines of valid UTF-8.
 *
 * Invariants
 * 1. Every line of the input is in exactly one item, in order: in a `text` item, or alone in a `bad` one.
 * 2. The text of a `text` item ends with a newline, except for the last line of the input when that has none.
 * 3. Memory stays under the line limit plus a few chunks, whatever the input: a line over the limit is skipped as it
 *    streams by, and only its beginning is kept for the report.
 */
import { isUtf8 } from 'node:buffer'

const NEWLINE = 10
/** How much of a bad line goes into the report. */
const EXCERPT_BYTES = 200

export interface TextBlock {
  readonly kind: 'text'
  readonly text: string
  /** Number of the first line, from 1. */
  readonly line: number
}

export interface BadLine {
  readonly kind: 'bad'
  readonly line: number
  readonly reason: string
  /** The beginning of the line. */
  readonly text: string
}

export type LineItem = TextBlock | BadLine

export const DEFAULT_LINE_LIMIT_BYTES = 16 * 1024 * 1024

export async function* readLineBlocks(
  chunks: AsyncIterable<Buffer>,
  lineLimitBytes: number = DEFAULT_LINE_LIMIT_BYTES,
): AsyncGenerator<LineItem, void, void> {
  const cutter = new LineCutter(lineLimitBytes)
  for await (const chunk of chunks) yield* cutter.push(chunk)
  yield* cutter.end()
}

class LineCutter {
  private line = 1
  private atStart = true
  /** The beginning of a line whose end has not come yet. */
  private pending: Buffer[] = []
  private pendingBytes = 0
  /** Bytes seen of a line over the limit; 0 when none is being skipped. */
  private skippedBytes = 0
  private excerpt = ''

  constructor(private readonly limit: number) {}

  *push(chunk: Buffer): Generator<LineItem, void, void> {
    let start = 0
    if (this.pendingBytes > 0 || this.skippedBytes > 0) {
      const newline = chunk.indexOf(NEWLINE)
      const length = newline === -1 ? chunk.length : newline
      if (this.skippedBytes > 0) this.skippedBytes += length
      else if (this.pendingBytes + length > this.limit) this.startSkipping(chunk, length)
      if (newline === -1) {
        if (this.skippedBytes === 0) this.keep(chunk)
        return
      }
      if (this.skippedBytes > 0) {
        yield this.finishSkipping()
        start = newline + 1
      }
    }
    const end = chunk.lastIndexOf(NEWLINE) + 1
    if (end > start) {
      yield* this.lines(this.join(chunk.subarray(start, end)))
      start = end
    }
    if (start < chunk.length) {
      const rest = chunk.subarray(start)
      if (rest.length > this.limit) this.startSkipping(rest, rest.length)
      else this.keep(rest)
    }
  }

  *end(): Generator<LineItem, void, void> {
    if (this.skippedBytes > 0) yield this.finishSkipping()
    else if (this.pendingBytes > 0) yield* this.lines(this.join(Buffer.alloc(0)))
  }

  private keep(bytes: Buffer): void {
    this.pending.push(bytes)
    this.pendingBytes += bytes.length
  }

  private join(last: Buffer): Buffer {
    if (this.pendingBytes === 0) return last
    this.pending.push(last)
    const joined = Buffer.concat(this.pending)
    this.pending = []
    this.pendingBytes = 0
    return joined
  }

  private startSkipping(bytes: Buffer, length: number): void {
    const first = this.pending[0] ?? bytes
    this.excerpt = excerptOf(first)
    this.skippedBytes = this.pendingBytes + length
    this.pending = []
    this.pendingBytes = 0
  }

  private finishSkipping(): BadLine {
    const item = this.tooLong(this.skippedBytes, this.excerpt)
    this.skippedBytes = 0
    this.excerpt = ''
    this.atStart = false
    return item
  }

  private tooLong(bytes: number, text: string): BadLine {
    const reason = `the line has ${bytes} bytes, the limit is ${this.limit} (--line-limit raises it)`
    return { kind: 'bad', line: this.line++, reason, text }
  }

  /** Whole lines: at once when they are well, which is nearly always, or else one by one. */
  private *lines(given: Buffer): Generator<LineItem, void, void> {
    const bytes = this.atStart ? withoutByteOrderMark(given) : given
    this.atStart = false
    if (bytes.length === 0) return
    if (bytes.length <= this.limit && isUtf8(bytes)) {
      yield { kind: 'text', text: bytes.toString('utf8'), line: this.line }
      this.line += countNewlines(bytes)
      return
    }
    let runStart = 0
    let runLine = this.line
    for (let start = 0; start < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, start)
      const end = newline === -1 ? bytes.length : newline + 1
      const content = bytes.subarray(start, newline === -1 ? end : newline)
      const isLong = content.length > this.limit
      if (isLong || !isUtf8(content)) {
        if (start > runStart) yield { kind: 'text', text: bytes.toString('utf8', runStart, start), line: runLine }
        if (isLong) yield this.tooLong(content.length, excerptOf(content))
        else yield { kind: 'bad', line: this.line++, reason: invalidUtf8(content), text: excerptOf(content) }
        runStart = end
        runLine = this.line
      } else {
        this.line++
      }
      start = end
    }
    if (runStart < bytes.length) yield { kind: 'text', text: bytes.toString('utf8', runStart), line: runLine }
  }
}

function withoutByteOrderMark(bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
}

function countNewlines(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) count++
  return count
}

function excerptOf(bytes: Buffer): string {
  return bytes.toString('utf8', 0, Math.min(bytes.length, EXCERPT_BYTES))
}

/** Names the first column that breaks the encoding: valid prefixes only grow, so a binary search finds it. */
function invalidUtf8(bytes: Buffer): string {
  let valid = 0
  let broken = bytes.length
  while (broken - valid > 1) {
    const middle = (valid + broken) >>> 1
    if (isUtf8(wholeCharacters(bytes, middle))) valid = middle
    else broken = middle
  }
  return `the line is not valid UTF-8 near byte ${broken} (convert the file, for example with iconv -t UTF-8)`
}

/** The first bytes without a last character that the cut itself has broken. */
function wholeCharacters(bytes: Buffer, length: number): Buffer {
  let end = length
  while (end > 0 && length - end < 3 && ((bytes[end - 1] ?? 0) & 0xc0) === 0x80) end--
  const lead = end > 0 ? (bytes[end - 1] ?? 0) : 0
  const wanted = lead > 0xf4 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
  return bytes.subarray(0, length - end + 1 < wanted ? end - 1 : length)
}
