/** The result as a bar chart in SVG: for each row of the comparison a bar per store, as long as its share of the best. */
import { figure, type Row } from './rows.js'

const COLOURS: Readonly<Record<string, string>> = {
  hypha: '#c2410c',
  lmdb: '#57748f',
  'better-sqlite3': '#7b9bb5',
  'classic-level': '#a9c0d2',
}
const WIDTH = 960
const LABEL = 300
const BAR = 13
const GAP = 3
const BETWEEN = 18
const TOP = 64
const FIGURES = 110

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;')

export function barChart(rows: readonly Row[], caption: string): string {
  const parts: string[] = []
  let y = TOP
  for (const row of rows) {
    const bars = barsOf(row)
    if (bars.length < 2) continue
    parts.push(
      `<text x="${LABEL - 12}" y="${y + 11}" text-anchor="end" font-weight="600">${escaped(row.workload)}</text>`,
    )
    parts.push(
      `<text x="${LABEL - 12}" y="${y + 26}" text-anchor="end" fill="#666">${escaped(row.unit)}${row.better === 'less' ? ', less is better' : ''}</text>`,
    )
    const most = Math.max(...bars.map(bar => bar.score))
    for (const { store, value, score } of bars) {
      const length = Math.max(1, ((WIDTH - LABEL - FIGURES) * score) / most)
      parts.push(
        `<rect x="${LABEL}" y="${y}" width="${length.toFixed(1)}" height="${BAR}" fill="${COLOURS[store] ?? '#999'}"/>`,
      )
      parts.push(`<text x="${(LABEL + length + 6).toFixed(1)}" y="${y + 11}">${figure(value)}</text>`)
      y += BAR + GAP
    }
    y = Math.max(y, y - bars.length * (BAR + GAP) + 32) + BETWEEN
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${y}" fill="#fff"/>`,
    `<text x="16" y="24" font-size="16" font-weight="600">HyphaDB beside its peers</text>`,
    `<text x="16" y="44" fill="#666">${escaped(caption)}</text>`,
    ...legend(),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

/** Bars grow with what is better. */
function barsOf(row: Row): { store: string; value: number; score: number }[] {
  const values = { ...(row.hypha === null ? {} : { hypha: row.hypha }), ...row.peers }
  return Object.entries(values).map(([store, value]) => ({
    store,
    value,
    score: row.better === 'more' ? value : 1 / Math.max(value, 1e-9),
  }))
}

function legend(): string[] {
  return Object.entries(COLOURS).flatMap(([store, colour], i) => {
    const x = WIDTH - 460 + i * 115
    return [
      `<rect x="${x}" y="14" width="12" height="12" fill="${colour}"/>`,
      `<text x="${x + 17}" y="24">${store}</text>`,
    ]
  })
}
