/** What the documentation lists and the code has must be the same. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { errorCodes } from 'hyphadb/internal/base/errors.js'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

function readText(path: string): string {
  return readFileSync(root + path, 'utf8')
}

/** Names of the same form that are no codes. */
const environmentVariables = new Set([
  'HYPHA_CHECKS',
  'HYPHA_FAULT',
  'HYPHA_HISTORIES',
  'HYPHA_SEED',
  'HYPHA_SEEDS',
  'HYPHA_TRACE',
])

/** One row of the table: | `CODE` | yes or no | text | */
function documentedErrors(): { code: string; retriable: boolean; description: string }[] {
  return [...readText('docs/errors.md').matchAll(/^\| `(\w+)` \| (yes|no) \| (.+) \|$/gm)].map(row => ({
    code: row[1] ?? '',
    retriable: row[2] === 'yes',
    description: row[3] ?? '',
  }))
}

function sourcesUnder(directory: string): string[] {
  return readdirSync(root + directory, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.ts'))
    .map(path => `${directory}/${path}`)
}

describe('docs/errors.md', () => {
  it('lists exactly the codes of the code, in its order, with the same text', () => {
    const inCode = Object.entries(errorCodes).map(([code, { retriable, description }]) => ({
      code,
      retriable,
      description,
    }))
    expect(documentedErrors()).toEqual(inCode)
  })

  it('lists codes in alphabetical order', () => {
    const codes = Object.keys(errorCodes)
    expect(codes).toEqual([...codes].sort())
  })

  it('knows every code that a source or another page mentions', () => {
    const pages = readdirSync(`${root}docs`, { recursive: true, encoding: 'utf8' })
      .filter(path => path.endsWith('.md'))
      .map(path => `docs/${path}`)
    const unknown = new Set<string>()
    for (const path of [...pages, ...sourcesUnder('packages/hyphadb/src')]) {
      for (const [mention] of readText(path).matchAll(/(?<=['`])HYPHA_[A-Z_]+(?=['`])/g)) {
        if (!(mention in errorCodes) && !environmentVariables.has(mention)) unknown.add(`${path}: ${mention}`)
      }
    }
    expect([...unknown]).toEqual([])
  })
})
