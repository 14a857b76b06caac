import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_VARINT_BYTES, readVarint, varintEnd, varintLength, writeVarint } from './varint.js'

const edges = [
  0,
  1,
  127,
  128,
  16383,
  16384,
  2 ** 21,
  2 ** 28 - 1,
  2 ** 28,
  2 ** 31,
  2 ** 32,
  2 ** 35,
  2 ** 49 - 1,
  2 ** 49,
]
const values = fc.oneof(
  fc.constantFrom(...edges, Number.MAX_SAFE_INTEGER),
  fc.maxSafeNat(),
  fc.integer({ min: 0, max: 52 }).chain(bits => fc.integer({ min: 0, max: 2 ** bits })),
)

/** The definition, by BigInt. */
function reference(value: number): number[] {
  const bytes: number[] = []
  let rest = BigInt(value)
  while (rest >= 128n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  return [...bytes, Number(rest)]
}

describe('varint', () => {
  it('writes LEB128 and reads back what it wrote, at any offset', () => {
    fc.assert(
      fc.property(values, fc.nat(20), (value, offset) => {
        const bytes = new Uint8Array(offset + MAX_VARINT_BYTES).fill(0xaa)
        const end = writeVarint(bytes, offset, value)
        expect([...bytes.subarray(offset, end)]).toEqual(reference(value))
        expect(end - offset).toBe(varintLength(value))
        expect(readVarint(bytes, offset, bytes.length)).toBe(value)
        expect(varintEnd).toBe(end)
      }),
    )
  })

  it('refuses a number that is cut off, and leaves the end of the one before', () => {
    fc.assert(
      fc.property(values, value => {
        const bytes = new Uint8Array(MAX_VARINT_BYTES)
        const end = writeVarint(bytes, 0, value)
        for (let cut = 0; cut < end; cut++) expect(readVarint(bytes, 0, cut)).toBe(-1)
      }),
    )
    readVarint(new Uint8Array([5]), 0, 1)
    readVarint(new Uint8Array([0x80]), 0, 1)
    expect(varintEnd).toBe(1)
  })

  it('accepts random bytes only in the one form that writing gives', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 12 }), bytes => {
        const value = readVarint(bytes, 0, bytes.length)
        if (value === -1) return
        expect(Number.isSafeInteger(value)).toBe(true)
        expect([...bytes.subarray(0, varintEnd)]).toEqual(reference(value))
      }),
    )
    expect(readVarint(new Uint8Array([0x80, 0]), 0, 2)).toBe(-1)
    expect(readVarint(new Uint8Array(8).fill(0xff), 0, 8)).toBe(-1)
    expect(readVarint(new Uint8Array([255, 255, 255, 255, 255, 255, 255, 16]), 0, 8)).toBe(-1)
    expect(readVarint(new Uint8Array([255, 255, 255, 255, 255, 255, 255, 15]), 0, 8)).toBe(Number.MAX_SAFE_INTEGER)
  })
})
