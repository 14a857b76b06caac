/** The result as a table of plain text (or Markdown), and what is to be known about it. */
import type { Machine } from './machine.js'
import { figure, type Row, targetText } from './rows.js'

const STORES = ['hypha', 'lmdb', 'better-sqlite3', 'classic-level']

function cells(row: Row): string[] {
  const value = (store: string): string => {
    const figureOf = store === 'hypha' ? row.hypha : row.peers[store]
    return figureOf === null || figureOf === undefined ? '–' : figure(figureOf)
  }
  const spread = row.spread['hypha']
  const wide = spread === undefined || row.hypha === null ? '' : `${figure(spread.min)} … ${figure(spread.max)}`
  const reached = row.reached === null ? '' : row.reached ? 'yes' : 'no'
  return [
    row.workload,
    row.unit,
    ...STORES.map(value),
    row.ratio === null ? '–' : `${row.ratio.toFixed(2)}×`,
    targetText(row.target),
    reached,
    wide,
    STORES.map(store => row.cpuMicros[store])
      .map(each => (each === undefined ? '–' : figure(each)))
      .join(' · '),
  ]
}

const HEAD = ['workload', 'unit', ...STORES, 'ratio', 'target', 'reached', 'spread of hypha', 'CPU µs each']

export function markdownTable(rows: readonly Row[]): string {
  const line = (columns: readonly string[]): string => `| ${columns.join(' | ')} |`
  const rule = HEAD.map((_, i) => (i < 2 ? '---' : '---:'))
  return [line(HEAD), line(rule), ...rows.map(row => line(cells(row)))].join('\n')
}

export function plainTable(rows: readonly Row[]): string {
  const table = [HEAD, ...rows.map(cells)]
  const widths = HEAD.map((_, column) => Math.max(...table.map(line => line[column]!.length)))
  return table
    .map(line =>
      line
        .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function machineText(machine: Machine): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`)
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}, Node.js ${machine.node}`,
    `${versions.join(', ')}; load before the run ${machine.loadBefore}`,
  ].join('\n')
}

/** One row on one line. */
export const rowText = (row: Row): string => cells(row).join('  ')

/** Failures and notes, one a line. */
export function remarks(rows: readonly Row[]): string[] {
  return rows.flatMap(row => [
    ...(row.note === null ? [] : [`${row.workload}: ${row.note}`]),
    ...Object.entries(row.failures).map(
      ([store, reason]) => `${row.workload}: no figure for ${store}: ${reason.split('\n')[0]}`,
    ),
  ])
}
