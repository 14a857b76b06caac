/**
 * Reading documents (bytes: format.ts).
 *
 * Not reentrant, like the writer. Nothing is believed: a length is checked before it sizes or bounds anything, and a
 * document must end exactly where its text begins.
 */
import { HyphaError } from '../base/errors.js'
import {
  ARRAY,
  BIGINT,
  BIGINT_NEGATIVE,
  BUFFER,
  BYTES,
  byteScratch,
  DATE,
  DOUBLE,
  doubleScratch,
  FALSE,
  FORMAT_UTF8,
  FORMAT_VERSION,
  INT8,
  INT16,
  INT32,
  LONG_ASCII,
  LONG_UTF8,
  MAP,
  NAMED,
  NULL,
  SET,
  SHAPED,
  SHAPED_AGAIN,
  SHORT_ARRAY,
  SHORT_STRING,
  TEXT_STRING,
  TRUE,
  UNDEFINED,
} from './format.js'
import type { Shape, ShapeRegistry } from './shapes.js'

const COMPILE_AFTER_USES = 16

let source: Buffer
let position = 0
/** Where the root value has to end. */
let valuesEnd = 0
let text = ''
let textPosition = 0
let registry: ShapeRegistry
let unknownLow = 0
let unknownHigh = 0
const documentShapes: Shape[] = []
let documentShapeCount = 0
/** Shapes met lately, by the low bits of their ids. */
const RECENT_SHAPES = 64
const recentShapes: (Shape | undefined)[] = new Array<Shape | undefined>(RECENT_SHAPES).fill(undefined)

/** Thrown inside when a shape has to be looked up first: that overwrites what the reader lent out. */
const unknownShapeSignal = new Error('unknown shape')

/**
 * Decodes the document in `buffer[start, end)`. The result shares no memory with the buffer.
 *
 * @throws HYPHA_CORRUPT when the bytes are no document.
 */
export function decodeDocument(buffer: Buffer, start: number, end: number, shapes: ShapeRegistry): object {
  try {
    return decode(buffer, start, end, shapes)
  } catch (error) {
    if (error instanceof RangeError) throw damaged() // nested deeper than the stack: no writer did that
    if (error !== unknownShapeSignal) throw error
  }
  // The lookup goes through the reader that lent us these bytes: keep them first.
  const copy = Buffer.from(buffer.subarray(start, end))
  for (;;) {
    shapes.load(unknownLow, unknownHigh)
    try {
      return decode(copy, 0, copy.length, shapes)
    } catch (error) {
      if (error !== unknownShapeSignal) throw error
    }
  }
}

function decode(buffer: Buffer, start: number, end: number, shapes: ShapeRegistry): object {
  if (registry !== shapes) {
    registry = shapes
    recentShapes.fill(undefined)
  }
  source = buffer
  documentShapeCount = 0
  openText(start, end)
  position = start + 1
  const document = readValue()
  if (position !== valuesEnd || textPosition !== text.length || typeof document !== 'object' || document === null)
    throw damaged()
  return document
}

/** Makes the text of the document, and finds where its values end. */
function openText(start: number, end: number): void {
  const flags = end > start ? source[start] : 0
  if ((flags & 0xf0) !== FORMAT_VERSION) throw damaged()
  textPosition = 0
  const width = flags & 3
  if (width === 0) {
    text = ''
    valuesEnd = end
    return
  }
  let textEnd = end - 1
  let bytes = source[textEnd]
  if (width === 2) {
    textEnd--
    bytes = (bytes << 8) | source[textEnd]
  } else if (width === 3) {
    textEnd -= 3
    bytes = bytes * 0x1000000 + ((source[textEnd + 2] << 16) | (source[textEnd + 1] << 8) | source[textEnd])
  }
  valuesEnd = textEnd - bytes
  if (!(valuesEnd > start)) throw damaged()
  text = (flags & FORMAT_UTF8) === 0 ? source.latin1Slice(valuesEnd, textEnd) : source.utf8Slice(valuesEnd, textEnd)
}

function damaged(): HyphaError {
  return new HyphaError('HYPHA_CORRUPT', `A document is damaged near its byte ${position}: run 'hypha verify'`)
}

function readValue(): unknown {
  const tag = source[position++]
  if (tag < 0x80) return tag
  if (tag < NULL) {
    const from = textPosition
    textPosition += tag - SHORT_STRING
    return text.substring(from, textPosition)
  }
  switch (tag) {
    case TEXT_STRING: {
      const from = textPosition
      textPosition += source[position++]
      return text.substring(from, textPosition)
    }
    case NULL:
      return null
    case UNDEFINED:
      return undefined
    case FALSE:
      return false
    case TRUE:
      return true
    case INT8:
      return (source[position++] << 24) >> 24
    case INT16:
      position += 2
      return ((source[position - 1] << 24) >> 16) | source[position - 2]
    case INT32:
      position += 4
      return (
        (source[position - 1] << 24) | (source[position - 2] << 16) | (source[position - 3] << 8) | source[position - 4]
      )
    case DOUBLE:
      return readDouble()
    case DATE:
      return new Date(readDouble())
    default:
      return tag < SHORT_ARRAY ? readLarge(tag) : tag < SHAPED_AGAIN ? readArray(tag - SHORT_ARRAY) : readAgain(tag)
  }
}

function readLarge(tag: number): unknown {
  switch (tag) {
    case SHAPED:
      return readShaped()
    case NAMED:
      return readNamed()
    case ARRAY:
      return readArray(readCount())
    case LONG_ASCII:
    case LONG_UTF8: {
      const end = readCount() + position
      const value = tag === LONG_ASCII ? source.latin1Slice(position, end) : source.utf8Slice(position, end)
      position = end
      return value
    }
    case BIGINT:
      return readMagnitude()
    case BIGINT_NEGATIVE:
      return -readMagnitude()
    case BYTES:
    case BUFFER:
      return readBytes(tag)
    case MAP:
      return readMap()
    case SET:
      return readSet()
    default:
      throw damaged()
  }
}

function readDouble(): number {
  for (let i = 0; i < 8; i++) byteScratch[i] = source[position + i]
  position += 8
  return doubleScratch[0]
}

/** A varint that counts things of at least one byte each: more than there are bytes left is damage. */
function readCount(): number {
  let value = 0
  let scale = 1
  for (;;) {
    if (position >= valuesEnd || scale > 0x10000000) throw damaged()
    const byte = source[position++]
    value += (byte & 0x7f) * scale
    if (byte < 0x80) break
    scale *= 128
  }
  if (value > valuesEnd - position) throw damaged()
  return value
}

function readMagnitude(): bigint {
  const bytes = readCount()
  let digits = ''
  for (let i = bytes - 1; i >= 0; i--) digits += source[position + i].toString(16).padStart(2, '0')
  position += bytes
  return bytes === 0 ? 0n : BigInt(`0x${digits}`)
}

function readBytes(tag: number): Uint8Array {
  const length = readCount()
  const bytes = tag === BUFFER ? Buffer.allocUnsafeSlow(length) : new Uint8Array(length)
  source.copy(bytes, 0, position, position + length)
  position += length
  return bytes
}

function readShaped(): object {
  const low =
    source[position] | (source[position + 1] << 8) | (source[position + 2] << 16) | (source[position + 3] << 24)
  const high = source[position + 4] | (source[position + 5] << 8)
  position += 6
  const place = low & (RECENT_SHAPES - 1)
  let shape = recentShapes[place]
  if (shape === undefined || shape.low !== low || shape.high !== high) {
    if (position > valuesEnd) throw damaged()
    shape = registry.known(low, high)
    if (shape === undefined) {
      unknownLow = low
      unknownHigh = high
      throw unknownShapeSignal
    }
    recentShapes[place] = shape
  }
  documentShapes[documentShapeCount++] = shape
  return shape.read !== undefined ? shape.read() : readInterpreted(shape)
}

function readAgain(tag: number): object {
  const index = tag - SHAPED_AGAIN
  if (!(index < documentShapeCount)) throw damaged()
  const shape = documentShapes[index]
  return shape.read !== undefined ? shape.read() : readInterpreted(shape)
}

function readInterpreted(shape: Shape): object {
  if (++shape.reads === COMPILE_AFTER_USES) shape.read = compileReader(shape.names)
  const object: Record<string, unknown> = {}
  for (const name of shape.names) object[name] = readValue()
  return object
}

/** One object literal: the object is born with its final layout. Undefined where code from strings is forbidden. */
function compileReader(names: readonly string[]): (() => object) | undefined {
  const fields = names.map(name => `${JSON.stringify(name)}: read()`).join(',\n')
  try {
    return (
      new Function('read', `return function readShape() {\nreturn {\n${fields}\n}\n}`) as (
        read: () => unknown,
      ) => () => object
    )(readValue)
  } catch {
    return undefined
  }
}

function readNamed(): object {
  const count = readCount()
  const object: Record<string, unknown> = {}
  for (let i = 0; i < count; i++) {
    const name = readValue()
    if (typeof name !== 'string' || name === '__proto__') throw damaged()
    object[name] = readValue()
  }
  return object
}

function readArray(length: number): unknown[] {
  const items: unknown[] = []
  for (let i = 0; i < length; i++) items.push(readValue())
  return items
}

function readMap(): Map<unknown, unknown> {
  const count = readCount()
  const map = new Map<unknown, unknown>()
  for (let i = 0; i < count; i++) {
    const key = readValue()
    map.set(key, readValue())
  }
  return map
}

function readSet(): Set<unknown> {
  const count = readCount()
  const set = new Set<unknown>()
  for (let i = 0; i < count; i++) set.add(readValue())
  return set
}
