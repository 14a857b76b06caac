import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { SeededRandom, testSeed } from '../base/random.js'
import { makeRing } from './log-fixture.test.helper.js'
import {
  OPERATION_DELETE,
  OPERATION_PUT,
  OPERATION_PUT_BEGIN,
  OPERATION_PUT_CONTINUE,
  OperationDecoder,
} from './operation-decoder.js'
import { OperationEncoder } from './operation-encoder.js'
import {
  decodeRecord,
  ORIGIN_DEPENDENCIES,
  ORIGIN_ID,
  ORIGIN_SEQUENCE,
  RECORD_BAD,
  RECORD_CHECKPOINT,
  RECORD_COMMIT,
  RECORD_CUT,
  RECORD_FRAGMENT,
  RECORD_PADDING,
  RECORD_STUB,
  RecordHeader,
} from './record.js'
import { bodyChecksum } from './record-checksum.js'
import type { LogRing } from './ring.js'

const SALT_LOW = 0x1234_5678
const SALT_HIGH = -77

function ringAt(base: number, ringBytes = 1 << 16): LogRing {
  const ring = makeRing(ringBytes)
  ring.begin({
    base,
    firstSegment: 1,
    segmentPayload: 1 << 20,
    saltLow: SALT_LOW,
    saltHigh: SALT_HIGH,
    allocatedEnd: base,
  })
  return ring
}

/** Stages through `stage`, publishes, and returns a copy of the record's bytes. */
function staged(ring: LogRing, stage: (position: number) => number): Buffer {
  const position = ring.tail
  const total = stage(position)
  ring.publishTail(position + total)
  ring.view(position, total)
  return Buffer.from(ring.viewBytes.subarray(ring.viewStart, ring.viewStart + total))
}

function decode(bytes: Uint8Array, position: number, out = new RecordHeader()): number {
  return decodeRecord(bytes, 0, bytes.length, position, SALT_LOW, SALT_HIGH, out)
}

interface Operation {
  opcode: number
  tableId: number
  key: Buffer
  value: Buffer
  derived: boolean
  expiry: number
  total: number
}

function randomOperations(random: SeededRandom, count: number, valueBytesMax: number): Operation[] {
  return Array.from({ length: count }, () => {
    const opcode = random.pick([
      OPERATION_PUT,
      OPERATION_PUT,
      OPERATION_DELETE,
      OPERATION_PUT_BEGIN,
      OPERATION_PUT_CONTINUE,
    ])
    const value = opcode === OPERATION_DELETE ? Buffer.alloc(0) : random.bytes(random.below(valueBytesMax))
    const keyed = opcode !== OPERATION_PUT_CONTINUE
    const expires = (opcode === OPERATION_PUT || opcode === OPERATION_PUT_BEGIN) && random.chance(0.2)
    return {
      opcode,
      tableId: random.chance(0.8) ? random.below(100) : random.below(2 ** 31),
      key: keyed ? random.bytes(random.below(random.chance(0.1) ? 2000 : 40)) : Buffer.alloc(0),
      value,
      derived: keyed && random.chance(0.3),
      expiry: expires ? random.below(2 ** 31) * 1000 + 1 : 0,
      total: value.length + (opcode === OPERATION_PUT_BEGIN ? random.below(1000) : 0),
    }
  })
}

function encode(encoder: OperationEncoder, operations: readonly Operation[]): void {
  for (const { opcode, tableId, key, value, derived, expiry, total } of operations) {
    if (opcode === OPERATION_PUT) encoder.put(tableId, key, value, derived, expiry)
    else if (opcode === OPERATION_DELETE) encoder.delete(tableId, key, derived)
    else if (opcode === OPERATION_PUT_BEGIN) encoder.beginValue(tableId, key, total, value, derived, expiry)
    else encoder.continueValue(value)
  }
}

function expectOperations(bytes: Uint8Array, header: RecordHeader, operations: readonly Operation[]): void {
  const decoder = new OperationDecoder()
  decoder.reset(bytes, header.bodyStart, header.bodyEnd)
  for (const operation of operations) {
    expect(decoder.next()).toBe(true)
    expect(decoder.opcode).toBe(operation.opcode)
    expect(Buffer.compare(bytes.subarray(decoder.valueStart, decoder.valueEnd), operation.value)).toBe(0)
    if (operation.opcode === OPERATION_PUT_CONTINUE) continue
    expect(Buffer.compare(bytes.subarray(decoder.keyStart, decoder.keyEnd), operation.key)).toBe(0)
    expect(decoder.tableId).toBe(operation.tableId)
    expect(decoder.derived).toBe(operation.derived)
    expect(decoder.expiry).toBe(operation.expiry)
    if (operation.opcode !== OPERATION_DELETE) expect(decoder.valueTotal).toBe(operation.total)
  }
  expect(decoder.next()).toBe(false)
}

describe('record', () => {
  test('a commit comes back as it was staged, wherever it lies in the ring', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const ring = ringAt(random.below(2 ** 31) * 2 ** 15)
    const encoder = new OperationEncoder()
    const header = new RecordHeader()
    for (let i = 0; i < 400; i++) {
      const operations = randomOperations(random, random.below(8), random.chance(0.1) ? 4000 : 200)
      encoder.reset()
      const dependencies = random.chance(0.3)
        ? Float64Array.from({ length: 2 * random.below(30) }, () => random.below(2 ** 50))
        : undefined
      const originId = random.chance(0.3) ? random.below(1000) : undefined
      const originSequence = random.chance(0.3) ? random.below(2 ** 48) : undefined
      const late = random.chance(0.5)
      if (!late) encoder.setOrigin(originId, originSequence, dependencies)
      encode(encoder, operations)
      if (late) encoder.setOrigin(originId, originSequence, dependencies)
      encoder.seal()
      expect(encoder.count).toBe(operations.length)
      const sequence = random.below(2 ** 52)
      const timestamp = 1_700_000_000_000 + i
      const position = ring.tail
      const limit = encoder.recordBytesMaximum
      const bytes = staged(ring, at => encoder.stageCommit(ring, at, sequence, timestamp))
      expect(bytes.length).toBeLessThanOrEqual(limit)
      expect(ring.readRecord(position, header), `seed ${seed}`).toBe(bytes.length)
      expect(header).toMatchObject({
        type: RECORD_COMMIT,
        sequence,
        timestamp,
        durable: ring.durable,
        fragmentCount: 0,
      })
      expect(header.originFlags).toBe(
        (originId === undefined ? 0 : ORIGIN_ID) |
          (originSequence === undefined ? 0 : ORIGIN_SEQUENCE) |
          ((dependencies?.length ?? 0) === 0 ? 0 : ORIGIN_DEPENDENCIES),
      )
      expect(header.originId).toBe(originId ?? 0)
      expect(header.originSequence).toBe(originSequence ?? 0)
      expect(Array.from(header.dependencies.subarray(0, 2 * header.dependencyCount))).toEqual(
        Array.from(dependencies ?? []),
      )
      expectOperations(ring.viewBytes, header, operations)
      ring.advanceWritten(ring.tail)
      if (random.chance(0.3)) ring.raiseDurable(ring.written)
    }
  })

  test('fragments, checkpoints, stubs and padding keep their fields', () => {
    const ring = ringAt(10_000)
    const encoder = new OperationEncoder()
    const header = new RecordHeader()
    encoder.reset()
    encoder.put(7, Buffer.from('key'), Buffer.from('value'))
    encoder.seal()
    const first = ring.tail
    let position = ring.tail
    let bytes = staged(ring, at => encoder.stageFragment(ring, at, 41, 900, 2))
    expect(decode(bytes, position, header)).toBe(bytes.length)
    expect(header).toMatchObject({
      type: RECORD_FRAGMENT,
      sequence: 41,
      transactionId: 900,
      fragmentIndex: 2,
      timestamp: 0,
    })
    expect(header.bodyEnd - header.bodyStart).toBe(encoder.length)

    position = ring.tail
    bytes = staged(ring, at => encoder.stageLastFragment(ring, at, 42, 1234, 900, 3, first))
    expect(decode(bytes, position, header)).toBe(bytes.length)
    expect(header).toMatchObject({
      type: RECORD_COMMIT,
      sequence: 42,
      transactionId: 900,
      fragmentCount: 3,
      firstFragment: first,
    })

    position = ring.tail
    bytes = staged(ring, at => encoder.stageCheckpoint(ring, at, 42, 1235, 17, first))
    expect(decode(bytes, position, header)).toBe(bytes.length)
    expect(header).toMatchObject({
      type: RECORD_CHECKPOINT,
      checkpointEpoch: 17,
      checkpointPosition: first,
      timestamp: 1235,
    })

    position = ring.tail
    bytes = staged(ring, at => encoder.stageStub(ring, at, 43, 1236))
    expect(decode(bytes, position, header)).toBe(bytes.length)
    expect(header).toMatchObject({ type: RECORD_STUB, sequence: 43, timestamp: 1236 })

    position = ring.tail
    bytes = staged(ring, at => encoder.stagePadding(ring, at, 43))
    expect(decode(bytes, position, header)).toBe(bytes.length)
    expect(header).toMatchObject({
      type: RECORD_PADDING,
      sequence: 43,
      transactionId: 0,
      checkpointEpoch: 0,
      durable: 10_000,
    })
  })

  test('the bytes of version 1 are these', () => {
    const ring = ringAt(100_000)
    const encoder = new OperationEncoder()
    encoder.put(7, Buffer.from('key'), Buffer.from('value'))
    encoder.delete(300, Buffer.from('old'), true)
    encoder.put(7, Buffer.from('k2'), Buffer.from('v'), false, 1_700_000_000_000)
    encoder.seal()
    const time = 1_700_000_000_000
    const hexOf = (stage: (position: number) => number): string => staged(ring, stage).toString('hex')
    const operations = '0107036b65790576616c7565' + '0aac02036f6c64' + '110780d095ffbc31026b320176'
    expect(hexOf(at => encoder.stageCommit(ring, at, 5_000_000, time))).toBe(
      `320315b963f501c096b1020080d095ffbc3100${operations}`,
    )
    encoder.setOrigin(3, 44, Float64Array.of(1, 9, 2, 300))
    expect(hexOf(at => encoder.stageLastFragment(ring, at, 5_000_001, time + 1, 77, 2, 100_000))).toBe(
      `3dce2d13c0f511c196b1023381d095ffbc3107032c02010902ac024d0233${operations}`,
    )
    expect(hexOf(at => encoder.stageFragment(ring, at, 5_000_001, 77, 1))).toBe(
      `2d63698198f502c196b102714d01${operations}`,
    )
    expect(hexOf(at => encoder.stageCheckpoint(ring, at, 5_000_001, time + 2, 12, 100_000))).toBe(
      '1673dfc4d9f503c196b1029f0182d095ffbc310ca08d06',
    )
    expect(hexOf(at => encoder.stageStub(ring, at, 5_000_002, time + 3))).toBe(
      '1b34cf550af504c296b102b60183d095ffbc3107032c02010902ac02',
    )
    expect(hexOf(at => encoder.stagePadding(ring, at, 5_000_002))).toBe('0c64a9f2dff505c296b102d201')
  })

  test('no flipped bit is accepted', () => {
    const ring = ringAt(5_000_000_000_000)
    const encoder = new OperationEncoder()
    encoder.put(3, Buffer.alloc(16, 1), Buffer.alloc(100, 2))
    encoder.seal()
    const position = ring.tail
    const bytes = staged(ring, at => encoder.stageCommit(ring, at, 123_456_789, 1_700_000_000_000))
    expect(decode(bytes, position)).toBe(bytes.length)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      expect(decode(bytes, position), `bit ${bit}`).toBeLessThanOrEqual(0)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
    }
  })

  test('a record cut anywhere asks for the rest, and is not accepted with other bytes behind', () => {
    const ring = ringAt(77)
    const encoder = new OperationEncoder()
    encoder.put(3, Buffer.alloc(16, 1), Buffer.alloc(300, 2))
    encoder.seal()
    const header = new RecordHeader()
    const bytes = staged(ring, at => encoder.stageCommit(ring, at, 5, 1_700_000_000_000))
    for (let length = 0; length < bytes.length; length++) {
      expect(decode(bytes.subarray(0, length), 77, header), `cut at ${length}`).toBe(RECORD_CUT)
      expect(header.total === 0 || header.total === bytes.length).toBe(true)
      for (const filler of [0x00, 0xff, 0xf5]) {
        const torn = Buffer.alloc(bytes.length, filler)
        bytes.copy(torn, 0, 0, length)
        if (!torn.equals(bytes)) expect(decode(torn, 77), `torn at ${length}`).toBeLessThanOrEqual(0)
      }
    }
  })

  test('a record is valid at no other position and under no other salt', () => {
    const position = 2 ** 33 + 12_345
    const ring = ringAt(position)
    const encoder = new OperationEncoder()
    encoder.put(3, Buffer.from('key'), Buffer.from('value'))
    encoder.seal()
    const bytes = staged(ring, at => encoder.stageCommit(ring, at, 5, 1_700_000_000_000))
    const header = new RecordHeader()
    for (let bit = 0; bit < 50; bit++) {
      const moved = Math.floor(position / 2 ** bit) % 2 === 0 ? position + 2 ** bit : position - 2 ** bit
      expect(decode(bytes, moved, header), `position bit ${bit}`).toBe(RECORD_BAD)
    }
    for (let bit = 0; bit < 32; bit++) {
      const mask = 1 << bit
      expect(decodeRecord(bytes, 0, bytes.length, position, SALT_LOW ^ mask, SALT_HIGH, header)).toBe(RECORD_BAD)
      expect(decodeRecord(bytes, 0, bytes.length, position, SALT_LOW, SALT_HIGH ^ mask, header)).toBe(RECORD_BAD)
    }
    expect(decode(bytes, position, header)).toBe(bytes.length)
  })

  test('garbage is never accepted and never makes room for itself', () => {
    const seed = testSeed()
    const random = new SeededRandom(seed)
    const header = new RecordHeader()
    for (let i = 0; i < 5000; i++) {
      const bytes = random.bytes(random.below(200))
      if (random.chance(0.7) && bytes.length > 8) {
        bytes[0] = bytes.length - 1
        bytes[5] = 0xf5
        bytes[6] = random.below(8)
      }
      expect(decode(bytes, random.below(2 ** 40), header), `seed ${seed}`).toBeLessThanOrEqual(0)
      expect(header.dependencies.length).toBeLessThan(1000)
    }
  })

  test('a put of 116 bytes costs at most 1.3 bytes a byte', () => {
    // Late in a large log, with a sync far behind.
    const ring = ringAt(2 ** 40, 1 << 22)
    const encoder = new OperationEncoder()
    encoder.put(1000, Buffer.alloc(16, 1), Buffer.alloc(100, 2))
    encoder.seal()
    let bytes: Buffer = Buffer.alloc(0)
    for (let i = 0; i < 10_000; i++)
      bytes = staged(ring, at => encoder.stageCommit(ring, at, 2e9 + i, 1_700_000_000_000))
    expect(bytes.length / 116).toBeLessThanOrEqual(1.3)
    expect(bytes.length - 116).toBeLessThanOrEqual(30)
  })

  test('checksums by table and by zlib are the same', () => {
    const random = new SeededRandom(testSeed())
    const bytes = random.bytes(2000)
    for (let i = 0; i < 300; i++) {
      const start = random.below(1000)
      const end = start + random.below(random.chance(0.5) ? 20 : 900)
      expect(bodyChecksum(bytes, start, end)).toBe(crc32(bytes.subarray(start, end)))
    }
  })

  test('an encoder can be used again, grows, and shrinks', () => {
    const encoder = new OperationEncoder()
    const ring = ringAt(0, 1 << 24)
    const large = Buffer.alloc(6 << 20, 3)
    for (const value of [large, Buffer.from('small'), large]) {
      encoder.reset()
      encoder.put(1, Buffer.from('k'), value)
      encoder.seal()
      const position = ring.tail
      const bytes = staged(ring, at => encoder.stageCommit(ring, at, 1, 1))
      const header = new RecordHeader()
      expect(decode(bytes, position, header)).toBe(bytes.length)
      expectOperations(bytes, header, [
        {
          opcode: OPERATION_PUT,
          tableId: 1,
          key: Buffer.from('k'),
          value,
          derived: false,
          expiry: 0,
          total: value.length,
        },
      ])
      ring.advanceWritten(ring.tail)
    }
    expect(() => encoder.put(1, Buffer.from('k'), Buffer.alloc(80 << 20))).toThrow(/fragments/)
  })

  test('operations cut short are refused, not read beyond', () => {
    const encoder = new OperationEncoder()
    const ring = ringAt(0)
    encoder.put(300, Buffer.from('some key'), Buffer.from('some value'), true, 12_345)
    encoder.seal()
    const bytes = staged(ring, at => encoder.stageCommit(ring, at, 1, 1))
    const header = new RecordHeader()
    decode(bytes, 0, header)
    const decoder = new OperationDecoder()
    for (let end = header.bodyStart + 1; end < header.bodyEnd; end++) {
      decoder.reset(bytes, header.bodyStart, end)
      expect(() => decoder.next()).toThrow(/cannot be decoded/)
    }
    decoder.reset(Buffer.from([0x07, 1, 2, 3]), 0, 4)
    expect(() => decoder.next()).toThrow(/cannot be decoded/)
  })
})
