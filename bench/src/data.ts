/**
 * The data of all workloads, the same for every store and every run: keys of 16 bytes, values of 100, documents of ten
 * fields. Nothing is read from a file, everything follows from a row's number.
 */

export const KEY_BYTES = 16
export const VALUE_BYTES = 100
/** So many different values are written in turn. */
const DISTINCT_VALUES = 4096

/** A bijection of the 32-bit numbers: as good as random, and never twice the same. */
export function mix(number: number): number {
  let x = Math.imul(number ^ (number >>> 16), 0x7feb352d)
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b)
  return (x ^ (x >>> 16)) >>> 0
}

const hex = (number: number): string => number.toString(16).padStart(8, '0')

/** Key of row `row` where keys come in no order: 16 bytes of hexadecimal digits. */
export function randomKey(row: number): Buffer {
  return Buffer.from(hex(mix(row)) + hex(mix(row ^ 0x5bd1e995)), 'latin1')
}

/** Key of row `row` where keys come in their order. */
export function sequentialKey(row: number): Buffer {
  return Buffer.from(row.toString().padStart(KEY_BYTES, '0'), 'latin1')
}

/** `count` values to take in turn, of noise: neither one of them nor two together give compression anything to do. */
export function makeValues(bytes: number, count = DISTINCT_VALUES): Buffer[] {
  const noise = Buffer.alloc(bytes * count + 4)
  for (let i = 0; i + 4 <= noise.length; i += 4) noise.writeUInt32LE(mix(i + 1), i)
  return Array.from({ length: count }, (_, i) => Buffer.from(noise.subarray(i * bytes, (i + 1) * bytes)))
}

/** Numbers from 0 to `below`, from a seed: the order in which a workload asks for rows. */
export class Picks {
  private state: number

  constructor(
    seed: number,
    private readonly below: number,
  ) {
    this.state = mix(seed) | 1
  }

  next(): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x
    return (x >>> 0) % this.below
  }
}

/** A document of ten fields that every store can keep without loss: strings, numbers, a boolean. */
export interface Sale {
  id: string
  price: number
  date: string
  postcode: string
  propertyType: string
  newBuild: boolean
  street: string
  town: string
  district: string
  county: string
}

export const TOWNS = 500
const STREETS = [
  'HIGH STREET',
  'STATION ROAD',
  'CHURCH LANE',
  'VICTORIA ROAD',
  'MILL LANE',
  'THE CRESCENT',
  'GREEN LANE',
]
const TYPES = ['D', 'S', 'T', 'F', 'O']

export const townName = (number: number): string => `TOWN ${String(number).padStart(4, '0')}`

export function saleId(row: number): string {
  return hex(mix(row)) + hex(row)
}

export function makeSale(row: number): Sale {
  const random = mix(row ^ 0x2545f491)
  const town = random % TOWNS
  return {
    id: saleId(row),
    price: 40_000 + (mix(random) % 960_000),
    date: `${2000 + (random % 24)}-${String(1 + (random % 12)).padStart(2, '0')}-${String(1 + (random % 28)).padStart(2, '0')}`,
    postcode: `PC${random % 90} ${random % 10}${String.fromCharCode(65 + (random % 26))}B`,
    propertyType: TYPES[random % TYPES.length]!,
    newBuild: (random & 64) !== 0,
    street: `${1 + (random % 200)} ${STREETS[random % STREETS.length]!}`,
    town: townName(town),
    district: `DISTRICT ${town % 120}`,
    county: `COUNTY ${town % 40}`,
  }
}
