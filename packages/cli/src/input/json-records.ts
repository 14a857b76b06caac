/**
 * Reads JSON lines: one document a line, blank lines passed over. A line that is no JSON, or no object, is reported and
 * costs no other.
 */
import { messageOf } from '../failure.js'
import { fromJson } from '../json-values.js'

export interface JsonSink {
  document(document: Record<string, unknown>, line: number): void
  reject(line: number, reason: string, text: string): void
}

export class JsonLinesReader {
  constructor(private readonly sink: JsonSink) {}

  /** Whole lines, the first of which has the given number. */
  push(block: string, line: number): void {
    for (let start = 0, number = line; start < block.length; number++) {
      const newline = block.indexOf('\n', start)
      const end = newline === -1 ? block.length : newline
      const text = block.slice(start, end).trim()
      if (text !== '') this.readLine(text, number)
      start = end + 1
    }
  }

  private readLine(text: string, line: number): void {
    let value: unknown
    try {
      value = fromJson(text, 'the line')
    } catch (error) {
      this.sink.reject(line, messageOf(error), text)
      return
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value) || isScalarObject(value)) {
      this.sink.reject(line, 'the line is JSON, but not an object', text)
      return
    }
    this.sink.document(value as Record<string, unknown>, line)
  }
}

function isScalarObject(value: object): boolean {
  return value instanceof Date || value instanceof Uint8Array
}
