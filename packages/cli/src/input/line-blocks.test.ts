import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type LineItem, readLineBlocks } from './line-blocks.js'

async function* chunked(bytes: Buffer, size: number): AsyncGenerator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function read(bytes: Buffer, size: number, limit?: number): Promise<LineItem[]> {
  const items: LineItem[] = []
  for await (const item of readLineBlocks(chunked(bytes, size), limit)) items.push(item)
  return items
}

/** Lines by number; undefined for bad ones. */
function byLine(items: readonly LineItem[]): (string | undefined)[] {
  const lines: (string | undefined)[] = []
  for (const item of items) {
    if (item.kind === 'bad') lines[item.line - 1] = undefined
    else lines.splice(item.line - 1, 0, ...item.text.replace(/\n$/, '').split('\n'))
  }
  return lines
}

describe('readLineBlocks', () => {
  test('gives every line once, with its number, wherever the chunks are cut; bad lines apart', async () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }).map(text => Buffer.from(text.replaceAll('\n', ' ').toWellFormed())),
      fc.constantFrom(
        Buffer.from([0xff, 0x41]),
        Buffer.from([0x41, 0xc3]),
        Buffer.from([0xe2, 0x82]),
        Buffer.from('x'.repeat(40)),
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 20 }), fc.integer({ min: 1, max: 50 }), async (lines, size) => {
        if (lines[0] !== undefined && lines[0][0] === 0xef) return
        const bytes = Buffer.concat(lines.map(content => Buffer.concat([content, Buffer.from('\n')])))
        const expected = lines.map(content => {
          const isBad = content.length > 36 || Buffer.compare(Buffer.from(content.toString('utf8')), content) !== 0
          return isBad ? undefined : content.toString('utf8')
        })
        expect(byLine(await read(bytes, size, 36))).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })

  test('a text ends with a newline, but for the last line of an input without one', async () => {
    const items = await read(Buffer.from('one\ntwo\nthree'), 5)
    expect(items.map(item => item.text).join('')).toBe('one\ntwo\nthree')
    for (const item of items.slice(0, -1)) expect(item.text.endsWith('\n')).toBe(true)
  })

  test('a byte order mark is no part of the first line', async () => {
    expect(await read(Buffer.from('\ufeffid,town\n'), 4)).toEqual([{ kind: 'text', text: 'id,town\n', line: 1 }])
  })

  test('an invalid byte is named with its place, and multi-byte characters before it are none', async () => {
    const items = await read(
      Buffer.concat([Buffer.from('é漢😀 ok '), Buffer.from([0xff]), Buffer.from(' rest\nnext\n')]),
      1000,
    )
    expect(items[0]).toMatchObject({ kind: 'bad', line: 1 })
    expect((items[0] as { reason: string }).reason).toContain('near byte 14')
    expect(items[1]).toEqual({ kind: 'text', text: 'next\n', line: 2 })
  })

  test('a line over the limit is skipped in flat memory', async () => {
    async function* endless(): AsyncGenerator<Buffer, void, void> {
      yield Buffer.from('before\nx')
      const chunk = Buffer.alloc(256 * 1024, 'y')
      for (let sent = 0; sent < 200 * 1024 * 1024; sent += chunk.length) yield chunk
      yield Buffer.from('end\nafter\n')
    }
    const before = process.memoryUsage().arrayBuffers
    let peak = 0
    const items: LineItem[] = []
    for await (const item of readLineBlocks(endless(), 1024 * 1024)) {
      peak = Math.max(peak, process.memoryUsage().arrayBuffers)
      items.push(item)
    }
    expect(items.map(item => [item.kind, item.line])).toEqual([
      ['text', 1],
      ['bad', 2],
      ['text', 3],
    ])
    expect((items[1] as { text: string }).text.length).toBeLessThanOrEqual(200)
    expect(peak - before).toBeLessThan(8 * 1024 * 1024)
  })
})
