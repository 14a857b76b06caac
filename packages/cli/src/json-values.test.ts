import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromJson, toJson } from './json-values.js'

const leaf = fc.oneof(
  fc.string(),
  fc.double(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 20 }),
)
const name = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.constantFrom('$date', '$bigint', '$bytes', '$number', '$literal', '__proto__'),
)
const value = fc.letrec(tie => ({
  any: fc.oneof({ depthSize: 'small' }, leaf, tie('list'), tie('object')),
  list: fc.array(tie('any'), { maxLength: 3 }),
  object: fc.array(fc.tuple(name, tie('any')), { maxLength: 3 }).map(pairs => Object.fromEntries(pairs)),
})).any

describe('documents as JSON', () => {
  test('everything comes back as it was with typed dates', () => {
    fc.assert(
      fc.property(value, document => {
        expect(fromJson(toJson(document, true), 'it')).toStrictEqual(document)
      }),
      { numRuns: 500 },
    )
  })

  test('dates are plain ISO text unless they are asked for as dates', () => {
    const document = { when: new Date('2016-05-03T00:00:00Z') }
    expect(toJson(document)).toBe('{"when":"2016-05-03T00:00:00.000Z"}')
    expect(toJson(document, true)).toBe('{"when":{"$date":"2016-05-03T00:00:00.000Z"}}')
  })

  test('a malformed value says what was expected', () => {
    expect(() => fromJson('{"a":{"$date":"soon"}}', 'it')).toThrow('expected an ISO date')
    expect(() => fromJson('{"a":{"$bigint":12}}', 'it')).toThrow('digits as text')
    expect(() => fromJson('{', 'the filter')).toThrow('the filter is not JSON')
  })
})
