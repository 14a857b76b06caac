import { crc32 as zlibCrc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  commonPrefixLength,
  commonPrefixOfRanges,
  compareBytes,
  compareRanges,
  copyBetween,
  copyBytes,
  equalBytes,
  hex,
  moveWithin,
} from './bytes.js'
import { crc32, crc32Range } from './checksum.js'

/** Byte strings that often share a prefix, around the thresholds between loops and runtime calls. */
const related = fc
  .tuple(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 40 }))
  .map(([prefix, a, b]) => [Uint8Array.from([...prefix, ...a]), Uint8Array.from([...prefix, ...b])] as const)

function memory(length: number): { u8: Uint8Array; i32: Int32Array } {
  const bytes = new ArrayBuffer(length)
  const u8 = new Uint8Array(bytes)
  for (let i = 0; i < length; i++) u8[i] = (i * 37 + 11) & 0xff
  return { u8, i32: new Int32Array(bytes) }
}

const range = fc.tuple(fc.nat(64), fc.nat(64), fc.nat(200))

describe('comparing', () => {
  it('orders byte strings as Buffer.compare does, wherever they lie', () => {
    fc.assert(
      fc.property(related, fc.nat(9), ([a, b], shift) => {
        const expected = Buffer.compare(a, b)
        expect(Math.sign(compareBytes(a, b))).toBe(expected)
        const moved = new Uint8Array(shift + b.length + 3)
        moved.set(b, shift)
        expect(Math.sign(compareRanges(a, 0, a.length, moved, shift, shift + b.length))).toBe(expected)
        expect(equalBytes(a, b)).toBe(expected === 0)
      }),
    )
  })

  it('finds the longest common prefix', () => {
    fc.assert(
      fc.property(related, ([a, b]) => {
        const length = commonPrefixLength(a, b)
        expect(equalBytes(a.subarray(0, length), b.subarray(0, length))).toBe(true)
        expect(length === a.length || length === b.length || a[length] !== b[length]).toBe(true)
      }),
    )
    const bytes = Uint8Array.from([9, 1, 2, 3, 9, 1, 2, 4])
    expect(commonPrefixOfRanges(bytes, 1, 4, bytes, 5, 8)).toBe(2)
  })
})

describe('copying', () => {
  it('copies exactly the range, aligned or not, short or long', () => {
    fc.assert(
      fc.property(range, fc.boolean(), ([from, to, length], aligned) => {
        const start = aligned ? from & ~3 : from
        const target = aligned ? to & ~3 : to
        const source = memory(512)
        for (const copy of ['words', 'bytes'] as const) {
          const result = memory(512)
          result.u8.fill(0xee)
          const expected = result.u8.slice()
          expected.set(source.u8.subarray(start, start + length), target)
          if (copy === 'words') copyBetween(source, start, result, target, length)
          else copyBytes(source.u8, start, result.u8, target, length)
          expect(equalBytes(result.u8, expected)).toBe(true)
        }
      }),
    )
  })

  it('moves overlapping ranges as if through a copy', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.nat(40), fc.nat(30), (from, to, length) => {
        const bytes = memory(128).u8
        const expected = bytes.slice()
        expected.set(bytes.slice(from, from + length), to)
        moveWithin(bytes, from, to, length)
        expect(equalBytes(bytes, expected)).toBe(true)
      }),
    )
  })

  it('prints bytes for messages', () => {
    expect(hex(Uint8Array.from([0, 255, 16]))).toBe('00ff10')
    expect(hex(new Uint8Array(40), 2)).toBe('0000…')
  })
})

describe('crc32', () => {
  it('is the checksum of zip and png, whole, by range and continued', () => {
    const text = Buffer.from('123456789')
    expect(crc32(text)).toBe(0xcbf43926)
    expect(crc32Range(Buffer.from('xx123456789y'), 2, 11)).toBe(0xcbf43926)
    expect(crc32Range(text, 4, 9, crc32Range(text, 0, 4))).toBe(0xcbf43926)
    expect(crc32(new Uint8Array(0))).toBe(0)
  })

  it('gives what zlib gives for every length, start and seed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(9), fc.nat(0xffffffff), (bytes, start, seed) => {
        const from = Math.min(start, bytes.length)
        // zlib starts again at 0 when it is given nothing; continuing with nothing must change nothing.
        const expected = from === bytes.length ? seed : zlibCrc32(bytes.subarray(from), seed)
        expect(crc32Range(bytes, from, bytes.length, seed)).toBe(expected)
      }),
    )
  })
})
