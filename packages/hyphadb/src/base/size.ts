/** Sizes as people write them. */
import { HyphaError } from './errors.js'

const factors: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['k', 1024],
  ['m', 1024 ** 2],
  ['g', 1024 ** 3],
  ['t', 1024 ** 4],
])

/**
 * Bytes from a number, or from text like '256MB', '1.5 GiB', '64k': powers of 1024, in either spelling. `name` is the
 * option, for the message.
 */
export function parseBytes(size: number | string, name: string): number {
  const bytes = typeof size === 'number' ? size : parseText(size)
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes
  throw new HyphaError(
    'HYPHA_INVALID',
    `'${name}' must be a number of bytes or a text like '256MB', not ${JSON.stringify(size)}`,
  )
}

function parseText(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text)
  if (match === null) return Number.NaN
  return Math.round(Number(match[1]) * (factors.get((match[2] ?? '').toLowerCase()) ?? Number.NaN))
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** For messages: '63.9 MiB'. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number(value.toFixed(1))} ${units[unit] ?? ''}`
}
