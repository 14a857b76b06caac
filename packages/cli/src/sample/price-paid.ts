/**
 * Made-up sales in the shape of HM Land Registry's Price Paid Data: 16 columns, all quoted, no header. What is frequent
 * there is frequent here: towns with their skew and long tail, prices log-normal around the level of year, place and kind
 * of property, seven rows in ten thousand without a postcode, an eighth of them flats with a number of their own.
 *
 * The same number of rows and seed give the same bytes. Ids are all different: their first 32 bits are a one-to-one
 * scrambling of the row number.
 */
import { HOUSE_NAMES, LOCALITIES, SMALL_TOWNS, STREET_KINDS, STREET_NAMES, TOWNS, type Town } from './places.js'
import { Random, WeightedPick } from './random.js'

const FIRST_YEAR = 1995
/** Sales in ten thousands, 1995 to 2024: the rise to 2007, the slump after it, the dips of 2020 and 2023. */
const SALES_BY_YEAR = [
  80, 96, 109, 105, 119, 113, 124, 135, 123, 123, 106, 132, 127, 65, 62, 66, 66, 67, 81, 98, 101, 105, 106, 104, 101,
  90, 128, 108, 85, 84,
]
/** Median price of a home in thousands of pounds, 1995 to 2024. */
const PRICE_BY_YEAR = [
  55, 56, 60, 64, 71, 79, 88, 105, 124, 146, 155, 163, 174, 170, 163, 179, 176, 179, 182, 191, 202, 212, 221, 228, 232,
  245, 265, 275, 282, 285,
]
const SALES_BY_MONTH = [6.6, 6.9, 8.3, 7.4, 8.2, 9.1, 9.2, 9.6, 8.7, 8.9, 8.7, 8.4]
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

interface PropertyKind {
  readonly letter: string
  readonly weight: number
  readonly level: number
  readonly leasehold: number
}

const KINDS: readonly PropertyKind[] = [
  { letter: 'T', weight: 30, level: 0.8, leasehold: 0.18 },
  { letter: 'S', weight: 29, level: 0.95, leasehold: 0.18 },
  { letter: 'D', weight: 21, level: 1.6, leasehold: 0.05 },
  { letter: 'F', weight: 18.4, level: 0.85, leasehold: 0.98 },
  { letter: 'O', weight: 1.6, level: 1.3, leasehold: 0.4 },
]

const MINIMUM_PRICE = 100
const UNIT_LETTERS = 'ABDEFGHJLNPQRSTUWXYZ'
const TOWN_COUNT = TOWNS.length + SMALL_TOWNS.length
const PIECE_ROWS = 256

/** Pieces of text of a few hundred rows. */
export function* samplePricePaid(rows: number, seed: number): Generator<string, void, void> {
  const maker = new SaleMaker(seed)
  for (let row = 0; row < rows; ) {
    let piece = ''
    for (const end = Math.min(rows, row + PIECE_ROWS); row < end; row++) piece += maker.line(row)
    yield piece
  }
}

class SaleMaker {
  private readonly random: Random
  private readonly towns = new WeightedPick(townWeights())
  private readonly kinds = new WeightedPick(KINDS.map(kind => kind.weight))
  private readonly years = new WeightedPick(SALES_BY_YEAR)
  private readonly months = new WeightedPick(SALES_BY_MONTH)

  constructor(private readonly seed: number) {
    this.random = new Random(seed)
  }

  line(row: number): string {
    const { random } = this
    const place = townAt(this.towns.pick(random))
    const kind = KINDS[this.kinds.pick(random)] as PropertyKind
    const year = this.years.pick(random)
    const isNew = kind.letter !== 'O' && random.chance(0.065)
    const isOther = kind.letter === 'O' || random.chance(0.055)
    const isFlat = kind.letter === 'F'
    const fields = [
      this.id(row),
      this.price(place, kind, year, isNew, isOther),
      this.date(year),
      random.chance(0.0007) ? '' : this.postcode(place),
      kind.letter,
      isNew ? 'Y' : 'N',
      random.chance(kind.leasehold) ? 'L' : 'F',
      random.chance(0.07) ? random.pick(HOUSE_NAMES) : String(this.houseNumber()),
      isFlat && random.chance(0.62) ? `FLAT ${random.integer(1, 40)}` : '',
      random.chance(0.01) ? '' : `${random.pick(STREET_NAMES)} ${random.pick(STREET_KINDS)}`,
      random.chance(0.56) ? '' : random.pick(LOCALITIES),
      place.town,
      place.district,
      place.county,
      isOther ? 'B' : 'A',
      'A',
    ]
    return `"${fields.join('","')}"\n`
  }

  private id(row: number): string {
    const { random } = this
    const first = hex(scramble(row, this.seed))
    const second = hex(random.next())
    const third = hex(random.next())
    const fourth = hex(random.next())
    return `{${first}-${second.slice(0, 4)}-4${second.slice(5)}-${'89AB'[random.integer(0, 3)] ?? '8'}${third.slice(1, 4)}-${third.slice(4)}${fourth}}`
  }

  private price(place: Town, kind: PropertyKind, year: number, isNew: boolean, isOther: boolean): string {
    const { random } = this
    // Shares, garages and transfers in a family, for a nominal sum.
    if (random.chance(0.0005)) return String(random.integer(1, 10) * MINIMUM_PRICE)
    const median = (PRICE_BY_YEAR[year] as number) * 1000 * place.level * kind.level * (isNew ? 1.15 : 1)
    const price = median * Math.exp(random.normal() * (isOther ? 1.1 : 0.42))
    return String(Math.max(MINIMUM_PRICE, this.rounded(price)))
  }

  /** People ask for round sums, or for one just under. */
  private rounded(price: number): number {
    const { random } = this
    const kind = random.fraction()
    if (kind < 0.55) return Math.round(price / (price > 100_000 ? 5000 : 500)) * (price > 100_000 ? 5000 : 500)
    if (kind < 0.8) return Math.round(price / 1000) * 1000 - (random.chance(0.6) ? 50 : 5)
    if (kind < 0.95) return Math.round(price / 250) * 250
    return Math.round(price)
  }

  private date(year: number): string {
    const { random } = this
    const number = FIRST_YEAR + year
    const month = this.months.pick(random)
    const days = (DAYS_IN_MONTH[month] as number) + (month === 1 && number % 4 === 0 ? 1 : 0)
    return `${number}-${twoDigits(month + 1)}-${twoDigits(this.day(number, month, days))} 00:00`
  }

  /** Completions fall on Fridays more than on any other day, and hardly ever on Sundays. */
  private day(year: number, month: number, days: number): number {
    const { random } = this
    for (;;) {
      const day = random.integer(1, days)
      const weekday = new Date(Date.UTC(year, month, day)).getUTCDay()
      if (random.chance(weekday === 5 ? 1 : weekday === 0 || weekday === 6 ? 0.03 : 0.4)) return day
    }
  }

  private postcode(place: Town): string {
    const { random } = this
    const unit = `${UNIT_LETTERS[random.integer(0, 19)] ?? 'A'}${UNIT_LETTERS[random.integer(0, 19)] ?? 'A'}`
    return `${place.area}${random.integer(1, 28)} ${random.integer(1, 9)}${unit}`
  }

  /** Low numbers are in every street, high ones in few. */
  private houseNumber(): number {
    return 1 + Math.floor(-Math.log(1 - this.random.fraction()) * 38)
  }
}

/** The n-th most frequent town has a share of about 1/n: London near a tenth, and hundreds with a handful of sales. */
function townWeights(): number[] {
  return Array.from({ length: TOWN_COUNT }, (_, rank) => 1 / (rank + 1.5) ** 1.02)
}

function townAt(index: number): Town {
  return (index < TOWNS.length ? TOWNS[index] : SMALL_TOWNS[index - TOWNS.length]) as Town
}

/** One-to-one on 32 bits: xor, odd multiplication and xor-shift can all be undone. */
function scramble(row: number, seed: number): number {
  let word = row ^ Math.imul(seed, 0x9e3779b1)
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
  return (word ^ (word >>> 16)) >>> 0
}

function hex(word: number): string {
  return word.toString(16).toUpperCase().padStart(8, '0')
}

function twoDigits(number: number): string {
  return number < 10 ? `0${number}` : String(number)
}
