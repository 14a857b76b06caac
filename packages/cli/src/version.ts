/** The version of this package, out of its package.json. */
import { createRequire } from 'node:module'

const manifest: unknown = createRequire(import.meta.url)('../package.json')

export const VERSION =
  typeof manifest === 'object' && manifest !== null && 'version' in manifest && typeof manifest.version === 'string'
    ? manifest.version
    : 'unknown'
