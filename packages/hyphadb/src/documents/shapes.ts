/**
 * Shapes: the field names of objects, kept once for the whole database instead of in every document.
 *
 * A shape is a list of names. Its id is the first six bytes of the SHA-256 of the list, so it means the same in every
 * process and on every node, and two who create it at once create the same row. Rows: table `hypha/shapes`, key = id,
 * value = the names as JSON. They are written in the transaction of the first document that needs them, and never change
 * or go away.
 *
 * Invariants
 * 1. A committed document names only shapes whose rows are committed with it or before it. A process trusts a shape
 *    without writing it only after it has seen its row in the newest committed state.
 * 2. An id stands for one list of names: a second list with the same id is not given a shape.
 * 3. A list of names gets a shape the second time that it is met, and only a bounded number do: objects used as maps
 *    (names that are data) stay out of the table.
 */
import { createHash } from 'node:crypto'
import { HyphaError } from '../base/errors.js'
import { SHAPE_ID_BYTES } from './format.js'
import { isWellFormed } from './unicode.js'

const MAX_FIELDS = 100
const MAX_NAME_UNITS = 100
const MAX_SHAPES = 4096
/** Name lists met once, remembered until there are too many of them. */
const MAX_CANDIDATES = 1024

export class Shape {
  /** The row is known to be committed. */
  stored = false
  /** For the writer: in which document it was last written, and as which of its shapes. */
  documentNumber = 0
  documentIndex = 0
  /** Compiled when used often. */
  writes = 0
  reads = 0
  read: (() => object) | undefined
  write: ((object: object) => void) | undefined

  constructor(
    readonly names: readonly string[],
    readonly low: number,
    readonly high: number,
  ) {}

  idBytes(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(SHAPE_ID_BYTES)
    bytes.writeInt32LE(this.low, 0)
    bytes.writeUInt16LE(this.high, 4)
    return bytes
  }

  toBytes(): Buffer {
    return Buffer.from(JSON.stringify(this.names))
  }
}

/** Where the rows are: the engine's table, or a Map in tests. */
export interface ShapeStore {
  /** The row's value in the newest committed state. */
  load(id: Uint8Array): Buffer | undefined
}

class Node {
  readonly next = new Map<string, Node>()
  shape: Shape | undefined
}

/** The shapes that this thread knows, for one database. */
export class ShapeRegistry {
  private readonly root = new Node()
  private readonly byId = new Map<number, Shape>()
  private readonly candidates = new Set<string>()

  constructor(private readonly store: ShapeStore) {}

  /** The shape of these names; undefined when the object is to carry its own names. */
  forNames(names: readonly string[]): Shape | undefined {
    let node: Node | undefined = this.root
    for (let i = 0; i < names.length; i++) {
      node = node.next.get(names[i])
      if (node === undefined) return this.meet(names)
    }
    return node.shape ?? this.meet(names)
  }

  /** The shape with this id if it is known here. */
  known(low: number, high: number): Shape | undefined {
    return this.byId.get(high * 0x100000000 + (low >>> 0))
  }

  /** Looks the shape up in the table. Reads from the database: what a reader lent out before is overwritten. */
  load(low: number, high: number): Shape {
    const shape = this.loadIfStored(new Shape([], low, high))
    if (shape === undefined) {
      const id = new Shape([], low, high).idBytes().toString('hex')
      throw new HyphaError(
        'HYPHA_CORRUPT',
        `A document names the shape ${id}, which 'hypha/shapes' lacks: run 'hypha verify'`,
      )
    }
    return shape
  }

  private meet(names: readonly string[]): Shape | undefined {
    if (!eligible(names)) return undefined
    const listed = JSON.stringify(names)
    const digest = createHash('sha256').update(listed).digest()
    const shape = new Shape(names.slice(), digest.readInt32LE(0), digest.readUInt16LE(4))
    const known = this.known(shape.low, shape.high) ?? this.loadIfStored(shape)
    if (known !== undefined) return sameNames(known.names, names) ? known : undefined
    if (this.candidates.delete(listed)) return this.byId.size < MAX_SHAPES ? this.add(shape) : undefined
    if (this.candidates.size >= MAX_CANDIDATES) this.candidates.clear()
    this.candidates.add(listed)
    return undefined
  }

  private loadIfStored(wanted: Shape): Shape | undefined {
    const bytes = this.store.load(wanted.idBytes())
    if (bytes === undefined) return undefined
    const shape = new Shape(parseNames(bytes), wanted.low, wanted.high)
    shape.stored = true
    return this.add(shape)
  }

  private add(shape: Shape): Shape {
    let node = this.root
    for (const name of shape.names) {
      let next = node.next.get(name)
      if (next === undefined) {
        next = new Node()
        node.next.set(name, next)
      }
      node = next
    }
    node.shape = shape
    this.byId.set(shape.high * 0x100000000 + (shape.low >>> 0), shape)
    return shape
  }
}

/** Whether names may become a shape: few, short, and not numbers (an object indexed by number is a map). */
function eligible(names: readonly string[]): boolean {
  if (names.length === 0 || names.length > MAX_FIELDS) return false
  for (const name of names) {
    if (name.length > MAX_NAME_UNITS || name === '__proto__' || !isWellFormed(name)) return false
    const first = name.charCodeAt(0)
    if (first >= 0x30 && first <= 0x39) return false
  }
  return true
}

export function sameNames(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

function parseNames(bytes: Buffer): string[] {
  try {
    const names: unknown = JSON.parse(bytes.toString('utf8'))
    if (Array.isArray(names) && names.every(name => typeof name === 'string' && name !== '__proto__'))
      return names as string[]
  } catch {
    // Reported below.
  }
  throw new HyphaError('HYPHA_CORRUPT', "A row of 'hypha/shapes' is no list of names: run 'hypha verify'")
}
