/**
 * Nested plain objects as indented text: figures aligned, sizes in bytes also in a larger unit, arrays of objects as
 * small tables. Knows nothing of what the figures mean.
 */
import { toJson } from './json-values.js'
import { grouped } from './progress.js'

/** Names of figures that are numbers of bytes. */
const SIZES = /bytes$|^(budget|pageSize|ring|sinceCheckpoint)$/i

export function describeTree(value: unknown, indent = ''): string {
  if (!isPlainObject(value)) return `${indent}${scalar('', value)}\n`
  const entries = Object.entries(value)
  const width = Math.max(0, ...entries.filter(([, item]) => !isNested(item)).map(([name]) => name.length))
  return entries
    .map(([name, item]) => {
      if (isTable(item)) return `${indent}${name}\n${table(item, `${indent}  `)}`
      if (isNested(item)) return `${indent}${name}\n${describeTree(item, `${indent}  `)}`
      return `${indent}${name.padEnd(width)}  ${scalar(name, item)}\n`
    })
    .join('')
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Date) &&
    !ArrayBuffer.isView(value)
  )
}

function isTable(value: unknown): value is Record<string, unknown>[] {
  return Array.isArray(value) && value.length > 0 && value.every(isPlainObject)
}

function isNested(value: unknown): boolean {
  return isTable(value) || (isPlainObject(value) && Object.keys(value).length > 0)
}

function table(rows: readonly Record<string, unknown>[], indent: string): string {
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))]
  const cells = [columns, ...rows.map(row => columns.map(column => (column in row ? scalar('', row[column]) : '')))]
  const widths = columns.map((_, index) => Math.max(...cells.map(row => (row[index] ?? '').length)))
  return cells
    .map(
      row =>
        `${indent}${row
          .map((cell, index) => cell.padEnd(widths[index] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

function scalar(name: string, value: unknown): string {
  if (typeof value !== 'number') return typeof value === 'string' ? value : toJson(value)
  if (!Number.isFinite(value)) return String(value)
  const shown = Number.isInteger(value) ? grouped(value) : String(Number(value.toPrecision(4)))
  return SIZES.test(name) && Math.abs(value) >= 1024 ? `${shown} (${bytesShown(value)})` : shown
}

/** 1536 as `1.5 KiB`. */
export function bytesShown(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let size = bytes
  let unit = 0
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit] ?? ''}`
}
