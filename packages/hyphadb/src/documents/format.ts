/**
 * Document bytes.
 *
 * | where | bytes | what |
 * |---|---|---|
 * | 0     | 1     | high four bits: format version (1); bit 2: text is utf-8 (else ASCII); bits 0-1: width of the last field |
 * | 1     | …     | the root value |
 * | then  | T     | the text: all strings of up to 255 units, one after the other, in the order of their places |
 * | end   | 0,1,2,4 | T, little-endian, in as many bytes as the first byte says (0: no text) |
 *
 * Keeping the strings together makes reading quick: one native call makes one string, and the fields are slices of it.
 * A longer string stands in its place, so that keeping one small field does not keep a large document in memory.
 *
 * | tag | value | body |
 * |---|---|---|
 * | 00-7f | integers 0 to 127 | |
 * | 80-bf | string of 0 to 63 UTF-16 units | in the text |
 * | c0 c1 c2 c3 | null, undefined, false, true | |
 * | c4 c5 c6 | integer | 1, 2, 4 bytes, signed, little-endian |
 * | c7 | number | double, little-endian |
 * | c8 | Date | double, little-endian (NaN: invalid) |
 * | c9 ca | bigint, not negative, negative | varint n, n bytes of its magnitude, little-endian |
 * | cb cc | Uint8Array, Buffer | varint n, n bytes |
 * | cd | string of 64 to 255 units | 1 byte: units; in the text |
 * | ce cf | string, all ASCII, or utf-8 | varint n, n bytes |
 * | d0 | object of a shape | 6 bytes: the shape's id; its values in order |
 * | d1 | object with its own names | varint n, n times name (a string) and value |
 * | d2 | array | varint n, n values |
 * | d3 | Map | varint n, n times key and value |
 * | d4 | Set | varint n, n values |
 * | e0-ef | array of 0 to 15 | values |
 * | f0-ff | object of a shape that this document named before | values; low four bits: which of its shapes, by first appearance |
 *
 * Invariants
 * 1. A document comes back exactly as it went in, or is refused: undefined fields stay, -0, NaN, Buffer and Uint8Array
 *    are told apart, the order of fields is kept. Only own enumerable string-named fields are data.
 * 2. Reading goes by the bytes alone and ends exactly where the text begins; anything else is HYPHA_CORRUPT.
 */
export const FORMAT_VERSION = 0x10
export const FORMAT_UTF8 = 0x04

export const SHORT_STRING = 0x80
export const SHORT_STRING_UNITS = 63
export const TEXT_STRING_UNITS = 255

export const NULL = 0xc0
export const UNDEFINED = 0xc1
export const FALSE = 0xc2
export const TRUE = 0xc3
export const INT8 = 0xc4
export const INT16 = 0xc5
export const INT32 = 0xc6
export const DOUBLE = 0xc7
export const DATE = 0xc8
export const BIGINT = 0xc9
export const BIGINT_NEGATIVE = 0xca
export const BYTES = 0xcb
export const BUFFER = 0xcc
export const TEXT_STRING = 0xcd
export const LONG_ASCII = 0xce
export const LONG_UTF8 = 0xcf
export const SHAPED = 0xd0
export const NAMED = 0xd1
export const ARRAY = 0xd2
export const MAP = 0xd3
export const SET = 0xd4
export const SHORT_ARRAY = 0xe0
export const SHAPED_AGAIN = 0xf0

export const SHAPE_ID_BYTES = 6
/** Arrays, objects, Maps and Sets inside each other. */
export const MAX_DEPTH = 100

/** Eight bytes seen as a double; filled and read byte by byte, because documents are not aligned. */
export const doubleScratch = new Float64Array(1)
export const byteScratch = new Uint8Array(doubleScratch.buffer)
