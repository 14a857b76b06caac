import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HyphaError } from '../base/errors.js'
import { decodeDocument } from './codec-reader.js'
import { encodeDocument, takeUnstoredShapes } from './codec-writer.js'
import { ShapeRegistry } from './shapes.js'

/** A process: a registry over rows that others share. */
function registry(rows = new Map<string, Buffer>()): { shapes: ShapeRegistry; rows: Map<string, Buffer> } {
  return { shapes: new ShapeRegistry({ load: id => rows.get(Buffer.from(id).toString('hex')) }), rows }
}

function encode(document: object, { shapes, rows }: ReturnType<typeof registry>): Buffer {
  const bytes = encodeDocument(document, shapes)
  for (const shape of takeUnstoredShapes()) rows.set(shape.idBytes().toString('hex'), shape.toBytes())
  return Buffer.from(bytes)
}

function decode(bytes: Buffer, process: ReturnType<typeof registry>): object {
  const padded = Buffer.concat([Buffer.from([1, 2, 3]), bytes, Buffer.from([4, 5])])
  return decodeDocument(padded, 3, 3 + bytes.length, process.shapes)
}

function refusal(document: unknown): string {
  try {
    encode(document as object, registry())
  } catch (error) {
    if (error instanceof HyphaError) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

const text = fc.oneof(
  fc.string({ maxLength: 80 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    'x'.repeat(63),
    'x'.repeat(64),
    'y'.repeat(255),
    'z'.repeat(256),
    'é'.repeat(300),
    '😀'.repeat(200),
    '\0',
  ),
)
const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    undefined,
    true,
    false,
    0,
    -0,
    Number.NaN,
    Infinity,
    -Infinity,
    127,
    128,
    -128,
    -129,
    32767,
    32768,
    -32769,
    2 ** 31 - 1,
    2 ** 31,
    -(2 ** 31),
    -(2 ** 31) - 1,
    2 ** 53,
  ),
  fc.integer(),
  fc.double(),
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 700n), max: 2n ** 700n }),
  text,
  fc.date({ noInvalidDate: false }),
  fc.uint8Array({ maxLength: 300 }),
  fc.uint8Array({ maxLength: 30 }).map(bytes => Buffer.from(bytes)),
)
const name = fc
  .oneof(
    fc.constantFrom('id', 'a', 'b', 'name', '0', '17', '', 'constructor', 'toString', 'ünïcode', 'x"\\\n'),
    fc.string({ unit: 'binary', maxLength: 10 }),
  )
  .filter(each => each !== '__proto__')
const { value, document } = fc.letrec<{ value: unknown; document: Record<string, unknown> }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 17, size: 'small' }),
    tie('document'),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map(entries => new Map(entries)),
    fc.array(tie('value'), { maxLength: 4 }).map(items => new Set(items)),
  ),
  document: fc.dictionary(name, tie('value'), { maxKeys: 6, noNullPrototype: true }) as fc.Arbitrary<
    Record<string, unknown>
  >,
}))

describe('documents', () => {
  it('come back exactly as they went in, here and in a process that never saw their shapes', () => {
    const writer = registry()
    fc.assert(
      fc.property(document, original => {
        for (let round = 0; round < 2; round++) {
          const bytes = encode(original, writer)
          expect(isDeepStrictEqual(decode(bytes, writer), original)).toBe(true)
          expect(isDeepStrictEqual(decode(bytes, registry(writer.rows)), original)).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('come back exactly when shapes have been compiled, and when compiling is forbidden', () => {
    const compile = globalThis.Function
    for (const forbidden of [false, true]) {
      if (forbidden) {
        globalThis.Function = (() => {
          throw new EvalError('Code generation from strings disallowed for this context')
        }) as unknown as FunctionConstructor
      }
      try {
        fc.assert(
          fc.property(fc.array(value, { minLength: 3, maxLength: 3 }), ([a, b, c]) => {
            const writer = registry()
            const originals = Array.from({ length: 40 }, (_, i) => ({
              i,
              a,
              nested: [
                { b, i },
                { b: c, i },
              ],
              'odd "name"': { c },
            }))
            for (const original of originals)
              expect(isDeepStrictEqual(decode(encode(original, writer), writer), original)).toBe(true)
          }),
          { numRuns: 20 },
        )
      } finally {
        globalThis.Function = compile
      }
    }
  })

  it('keep the order of fields', () => {
    const process = registry()
    for (let i = 0; i < 3; i++) {
      expect(Object.keys(decode(encode({ b: 1, a: 2, c: { z: 1, y: 2 } }, process), process))).toEqual(['b', 'a', 'c'])
      expect(Object.keys(decode(encode({ a: 2, b: 1, c: 0 }, process), process))).toEqual(['a', 'b', 'c'])
    }
  })

  it('share no memory with what they were read from', () => {
    const process = registry()
    const bytes = encode({ id: 1, data: Uint8Array.of(1, 2, 3), text: 'abc' }, process)
    const document = decodeDocument(bytes, 0, bytes.length, process.shapes) as { data: Uint8Array; text: string }
    bytes.fill(0xee)
    expect([...document.data]).toEqual([1, 2, 3])
    expect(document.text).toBe('abc')
  })

  it('are refused with the path of what cannot be stored', () => {
    class Town {}
    const cycle: Record<string, unknown> = { id: 1 }
    cycle.deep = [{ back: cycle }]
    let deep: unknown = 1
    for (let i = 0; i < 200; i++) deep = [deep]
    expect(refusal({ a: { b: [1, () => 1] } })).toMatch(/^HYPHA_INVALID .*function at 'a\.b\[1\]'/)
    expect(refusal({ a: Symbol('x') })).toMatch(/^HYPHA_INVALID .*symbol at 'a'/)
    expect(refusal({ a: new Town() })).toMatch(/^HYPHA_INVALID .*instance of Town at 'a'/)
    expect(refusal({ a: new Float64Array(1) })).toMatch(/^HYPHA_INVALID .*Float64Array at 'a'/)
    expect(refusal({ a: /x/ })).toMatch(/^HYPHA_INVALID .*RegExp at 'a'/)
    expect(refusal(cycle)).toMatch(/^HYPHA_INVALID .*cycle.*'deep\[0\]\.back'/)
    expect(refusal({ deep })).toMatch(/^HYPHA_INVALID .*deeper/)
    expect(refusal({ a: ['\ud800'] })).toMatch(/^HYPHA_INVALID .*surrogate.*'a\[0\]'/)
    expect(refusal({ a: `${'x'.repeat(300)}\udc00` })).toMatch(/^HYPHA_INVALID .*surrogate.*'a'/)
    expect(refusal({ a: ['x\ud83d', '\ude00y'] })).toMatch(/^HYPHA_INVALID .*surrogate.*'a\[0\]'/)
    expect(refusal({ a: 'x\ud83d', b: '\ude00y' })).toMatch(/^HYPHA_INVALID .*surrogate.*'a'/)
    expect(refusal(JSON.parse('{"a":{"__proto__":1}}'))).toMatch(/^HYPHA_INVALID .*__proto__/)
    const holed: number[] = [1]
    holed[2] = 3
    expect(refusal({ a: holed })).toMatch(/^HYPHA_INVALID .*hole.*'a\[1\]'/)
    expect(refusal({ a: new Map([[() => 1, 1]]) })).toMatch(/^HYPHA_INVALID .*function/)
    expect(refusal([1])).toMatch(/^HYPHA_INVALID .*array/)
    expect(refusal(new Town())).toMatch(/^HYPHA_INVALID .*Town/)
    expect(refusal(new Map())).toMatch(/^HYPHA_INVALID .*Map/)
    expect(refusal({ id: 1 })).toBe('accepted')
  })

  it('leave the writer usable after a refusal in the middle', () => {
    const process = registry()
    for (let i = 0; i < 50; i++) {
      expect(() => encode({ a: 'text', b: { c: [() => 1] } }, process)).toThrow(HyphaError)
      const good = { a: `text ${i}`, b: { c: [i] } }
      expect(decode(encode(good, process), process)).toEqual(good)
    }
  })

  it('larger than a slab come back too', () => {
    const process = registry()
    const large = {
      id: 1,
      text: 'x'.repeat(200_000),
      items: Array.from({ length: 20_000 }, (_, i) => ({ i, name: `item ${i}` })),
      data: Buffer.alloc(100_000, 7),
    }
    for (let i = 0; i < 3; i++) expect(isDeepStrictEqual(decode(encode(large, process), process), large)).toBe(true)
  })

  it('with damaged bytes are refused or read as something else, but never crash or run on', () => {
    const process = registry()
    const seed = {
      id: 1,
      name: 'some text',
      list: [1, 2, { a: 'x' }],
      map: new Map([[1, 'a']]),
      big: 12345678901234567890n,
      data: Buffer.from('abc'),
      n: 1.5,
    }
    for (let i = 0; i < 3; i++) encode(seed, process)
    const whole = encode(seed, process)
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, byte, cut) => {
        const damaged = Buffer.from(whole)
        damaged[at] = byte
        for (const bytes of [damaged, whole.subarray(0, cut)]) {
          try {
            decode(Buffer.from(bytes), process)
          } catch (error) {
            expect((error as HyphaError).code).toBe('HYPHA_CORRUPT')
          }
        }
      }),
      { numRuns: 3000 },
    )
  })
})

describe('damaged documents', () => {
  it('with bytes left over behind their values or in their text are refused', () => {
    const process = registry()
    const whole = encode({ a: 'abc', n: 1 }, process)
    const textBytes = whole[whole.length - 1]
    const textAt = whole.length - 1 - textBytes
    const surplusValue = Buffer.concat([whole.subarray(0, textAt), Buffer.from([1]), whole.subarray(textAt)])
    const surplusText = Buffer.concat([
      whole.subarray(0, whole.length - 1),
      Buffer.from('x'),
      Buffer.from([textBytes + 1]),
    ])
    for (const bytes of [surplusValue, surplusText]) expect(() => decode(bytes, process)).toThrow(/damaged/)
    expect(decode(whole, process)).toEqual({ a: 'abc', n: 1 })
  })
})

describe('shapes', () => {
  it('have the same id in every process, and one row however many create them', () => {
    const one = registry()
    const two = registry(one.rows)
    const three = registry()
    for (const process of [one, two, three]) for (let i = 0; i < 3; i++) encode({ x: i, y: i }, process)
    expect(one.rows.size).toBe(1)
    expect([...three.rows]).toEqual([...one.rows])
  })

  it('are not made of objects that are used as maps', () => {
    const process = registry()
    for (let i = 0; i < 100; i++) encode({ id: i, map: { [`key${i}`]: 1 }, numbers: { [i]: 1 } }, process)
    expect(process.rows.size).toBe(1)
  })

  it('with the same id but other names are told apart', () => {
    const rows = new Map<string, Buffer>()
    const writer = registry(rows)
    for (let i = 0; i < 2; i++) encode({ a: 1, b: 2 }, writer)
    const [id] = [...rows.keys()]
    rows.set(id, Buffer.from('["other","names"]')) // as if another list had come to this id first
    const late = registry(rows)
    for (let i = 0; i < 3; i++) {
      const bytes = encode({ a: 1, b: 2 }, late)
      expect(decode(bytes, late)).toEqual({ a: 1, b: 2 })
    }
    expect(rows.size).toBe(1)
  })
})
