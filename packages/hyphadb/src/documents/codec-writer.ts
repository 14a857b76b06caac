/**
 * Writing documents (bytes: format.ts).
 *
 * Not reentrant: the state of the document being written stands in module variables, which costs nothing to reach. Bytes
 * go into slabs that are never written twice, so a finished document can be handed on without a copy.
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
  MAX_DEPTH,
  NAMED,
  NULL,
  SET,
  SHAPED,
  SHAPED_AGAIN,
  SHORT_ARRAY,
  SHORT_STRING,
  SHORT_STRING_UNITS,
  TEXT_STRING,
  TEXT_STRING_UNITS,
  TRUE,
  UNDEFINED,
} from './format.js'
import { explainRefusal } from './refusal.js'
import { type Shape, type ShapeRegistry, sameNames } from './shapes.js'
import { isWellFormed } from './unicode.js'

const SLAB_BYTES = 64 * 1024
/** Room that every value may take without asking. */
const SLACK_BYTES = 16
/** A shape's writer is compiled after so many objects: compiling costs about as much as writing a hundred fields. */
const COMPILE_AFTER_USES = 16

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
let safeEnd = SLAB_BYTES - SLACK_BYTES
let start = 0
let position = 0
let text = ''
let depth = 0
let writing = false
let documentNumber = 0
let documentShapes = 0
let registry: ShapeRegistry
const lastShapeAtDepth: (Shape | undefined)[] = []
/** Shapes of the last document whose rows are not known to be committed. */
const unstoredShapes: Shape[] = []

/** Thrown inside, when a value cannot be written; the path is found afterwards. */
const refusedSignal = new Error('refused')

/**
 * Encodes a document. The bytes are private to the caller. `takeUnstoredShapes()` then names the shapes whose rows have to
 * go into the same transaction.
 *
 * @throws HYPHA_INVALID with the path of what cannot be stored.
 */
export function encodeDocument(document: object, shapes: ShapeRegistry): Uint8Array {
  if (writing)
    throw new HyphaError('HYPHA_INVALID', 'A getter of the document writes another document: read plain data first')
  writing = true
  begin(shapes)
  try {
    const prototype: unknown = Object.getPrototypeOf(document)
    if (prototype !== Object.prototype && prototype !== null) throw refusedSignal
    depth = 1
    writeFields(document)
    return finish()
  } catch (error) {
    if (error === refusedSignal) throw explainRefusal(document)
    throw error
  } finally {
    writing = false
    text = ''
  }
}

/** The shapes of the last document that have to be stored; the list is reused by the next document. */
export function takeUnstoredShapes(): readonly Shape[] {
  return unstoredShapes
}

function begin(shapes: ShapeRegistry): void {
  if (registry !== shapes) {
    registry = shapes
    lastShapeAtDepth.length = 0
  }
  start = position
  text = ''
  depth = 0
  documentShapes = 0
  documentNumber++
  if (unstoredShapes.length > 0) unstoredShapes.length = 0
  if (position > safeEnd) grow(SLACK_BYTES)
  position++
}

function finish(): Uint8Array {
  let flags = FORMAT_VERSION
  const units = text.length
  if (units > 0) {
    reserve(units * 3 + 4 > slab.length - position ? Buffer.byteLength(text) + 4 : 0)
    const bytes = slab.utf8Write(text, position)
    if (bytes !== units) {
      if (!isWellFormed(text)) throw refusedSignal
      flags |= FORMAT_UTF8
    }
    position += bytes
    let rest = bytes
    const width = bytes < 0x100 ? 1 : bytes < 0x10000 ? 2 : 4
    flags |= width === 4 ? 3 : width
    for (let i = 0; i < width; i++) {
      slab[position++] = rest
      rest >>>= 8
    }
  }
  slab[start] = flags
  return new Uint8Array(slab.buffer, slab.byteOffset + start, position - start)
}

/** Makes sure that `bytes` and the slack fit behind the position. */
function reserve(bytes: number): void {
  if (position + bytes > safeEnd) grow(bytes)
}

/** Moves the unfinished document to the beginning of a new slab. */
function grow(bytes: number): void {
  const written = position - start
  const wanted = (written + bytes) * 2 + SLACK_BYTES
  const next = Buffer.allocUnsafeSlow(wanted > SLAB_BYTES ? wanted : SLAB_BYTES)
  if (written > 0) slab.copy(next, 0, start, position)
  slab = next
  safeEnd = next.length - SLACK_BYTES
  start = 0
  position = written
}

function writeValue(value: unknown): void {
  if (position > safeEnd) grow(SLACK_BYTES)
  switch (typeof value) {
    case 'string':
      writeString(value)
      return
    case 'number':
      writeNumber(value)
      return
    case 'boolean':
      slab[position++] = value ? TRUE : FALSE
      return
    case 'undefined':
      slab[position++] = UNDEFINED
      return
    case 'bigint':
      writeBigint(value)
      return
    case 'object':
      if (value === null) {
        slab[position++] = NULL
      } else {
        writeObject(value)
      }
      return
    default:
      throw refusedSignal
  }
}

function writeString(value: string): void {
  const units = value.length
  if (units > TEXT_STRING_UNITS) {
    writeLongString(value)
    return
  }
  if (units <= SHORT_STRING_UNITS) {
    slab[position++] = SHORT_STRING | units
    if (units === 0) return
  } else {
    slab[position++] = TEXT_STRING
    slab[position++] = units
  }
  // Half a pair at the end of one string and the other half at the beginning of the next would look whole in the text.
  if ((value.charCodeAt(0) & 0xfc00) === 0xdc00) throw refusedSignal
  text += value
}

function writeLongString(value: string): void {
  const bytes = Buffer.byteLength(value)
  if (bytes !== value.length && !isWellFormed(value)) throw refusedSignal
  reserve(bytes + SLACK_BYTES)
  slab[position++] = bytes === value.length ? LONG_ASCII : LONG_UTF8
  writeVarint(bytes)
  position += slab.utf8Write(value, position)
}

function writeVarint(value: number): void {
  let rest = value
  while (rest > 0x7f) {
    slab[position++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  slab[position++] = rest
}

function writeNumber(value: number): void {
  const integer = value | 0
  if (integer !== value || (value === 0 && 1 / value < 0)) {
    slab[position++] = DOUBLE
    writeDouble(value)
  } else if (integer >= 0 && integer < 0x80) {
    slab[position++] = integer
  } else if (integer >= -0x80 && integer < 0x80) {
    slab[position++] = INT8
    slab[position++] = integer
  } else if (integer >= -0x8000 && integer < 0x8000) {
    slab[position++] = INT16
    slab[position++] = integer
    slab[position++] = integer >> 8
  } else {
    slab[position++] = INT32
    slab[position++] = integer
    slab[position++] = integer >> 8
    slab[position++] = integer >> 16
    slab[position++] = integer >> 24
  }
}

function writeDouble(value: number): void {
  doubleScratch[0] = value
  for (let i = 0; i < 8; i++) slab[position++] = byteScratch[i]
}

function writeBigint(value: bigint): void {
  const negative = value < 0n
  const digits = (negative ? -value : value).toString(16)
  const bytes = value === 0n ? 0 : (digits.length + 1) >> 1
  reserve(bytes + SLACK_BYTES)
  slab[position++] = negative ? BIGINT_NEGATIVE : BIGINT
  writeVarint(bytes)
  for (let i = 0, to = digits.length; i < bytes; i++, to -= 2) {
    slab[position++] = Number.parseInt(digits.slice(Math.max(0, to - 2), to), 16)
  }
}

function writeBytes(value: Uint8Array): void {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Uint8Array.prototype && prototype !== Buffer.prototype) throw refusedSignal
  reserve(value.length + SLACK_BYTES)
  slab[position++] = prototype === Buffer.prototype ? BUFFER : BYTES
  writeVarint(value.length)
  slab.set(value, position)
  position += value.length
}

function writeObject(value: object): void {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) {
    if (++depth > MAX_DEPTH) throw refusedSignal
    writeFields(value)
    depth--
  } else if (prototype === Array.prototype) {
    writeArray(value as unknown[])
  } else if (prototype === Date.prototype) {
    slab[position++] = DATE
    writeDouble((value as Date).getTime())
  } else if (value instanceof Uint8Array) {
    writeBytes(value)
  } else if (prototype === Map.prototype) {
    writeMap(value as Map<unknown, unknown>)
  } else if (prototype === Set.prototype) {
    writeSet(value as Set<unknown>)
  } else {
    throw refusedSignal
  }
}

function writeFields(object: object): void {
  const names = Object.keys(object)
  let shape = lastShapeAtDepth[depth]
  if (shape === undefined || !sameNames(shape.names, names)) {
    shape = registry.forNames(names)
    if (shape === undefined) {
      writeNamed(object as Record<string, unknown>, names)
      return
    }
    lastShapeAtDepth[depth] = shape
  }
  writeShapeId(shape)
  if (shape.write !== undefined) {
    shape.write(object)
  } else {
    writeInterpreted(object as Record<string, unknown>, shape)
  }
}

function writeShapeId(shape: Shape): void {
  if (shape.documentNumber === documentNumber && shape.documentIndex < 16) {
    slab[position++] = SHAPED_AGAIN | shape.documentIndex
    return
  }
  if (shape.documentNumber !== documentNumber) {
    shape.documentNumber = documentNumber
    shape.documentIndex = documentShapes++
    if (!shape.stored) unstoredShapes.push(shape)
  }
  slab[position] = SHAPED
  slab[position + 1] = shape.low
  slab[position + 2] = shape.low >> 8
  slab[position + 3] = shape.low >> 16
  slab[position + 4] = shape.low >> 24
  slab[position + 5] = shape.high
  slab[position + 6] = shape.high >> 8
  position += 7
}

function writeInterpreted(object: Record<string, unknown>, shape: Shape): void {
  if (++shape.writes === COMPILE_AFTER_USES) shape.write = compileWriter(shape.names)
  for (const name of shape.names) writeValue(object[name])
}

/** A function with one property access per field, each with an inline cache of its own; undefined where code from strings is forbidden. */
function compileWriter(names: readonly string[]): ((object: object) => void) | undefined {
  const body = names.map(name => `write(object[${JSON.stringify(name)}])`).join('\n')
  try {
    return (
      new Function('write', `return function writeShape(object) {\n${body}\n}`) as (
        write: (value: unknown) => void,
      ) => (object: object) => void
    )(writeValue)
  } catch {
    return undefined
  }
}

function writeNamed(object: Record<string, unknown>, names: readonly string[]): void {
  slab[position++] = NAMED
  writeVarint(names.length)
  for (const name of names) {
    if (name === '__proto__') throw refusedSignal
    if (position > safeEnd) grow(SLACK_BYTES)
    writeString(name)
    writeValue(object[name])
  }
}

function writeArray(items: readonly unknown[]): void {
  if (++depth > MAX_DEPTH) throw refusedSignal
  const length = items.length
  if (length < 16) {
    slab[position++] = SHORT_ARRAY | length
  } else {
    slab[position++] = ARRAY
    writeVarint(length)
  }
  for (let i = 0; i < length; i++) {
    const item = items[i]
    if (item === undefined && !(i in items)) throw refusedSignal
    writeValue(item)
  }
  depth--
}

function writeMap(map: ReadonlyMap<unknown, unknown>): void {
  if (++depth > MAX_DEPTH) throw refusedSignal
  slab[position++] = MAP
  writeVarint(map.size)
  for (const [key, value] of map) {
    writeValue(key)
    writeValue(value)
  }
  depth--
}

function writeSet(set: ReadonlySet<unknown>): void {
  if (++depth > MAX_DEPTH) throw refusedSignal
  slab[position++] = SET
  writeVarint(set.size)
  for (const value of set) writeValue(value)
  depth--
}
