// The layers of packages/hyphadb/src, lowest first. A folder imports only from itself and from folders before it.
const layers = ['base', 'os', 'memory', 'log', 'pages', 'index', 'txn', 'engine', 'documents']
const source = 'packages/hyphadb/src'
// foo.test.ts, foo.benchmark.ts, and what they share: foo.test.helper.ts, foo.test-support.ts
const testing = '\\.(test|benchmark)[.-]'

const upward = layers.slice(0, -1).map((layer, position) => ({
  name: `${layer}-imports-nothing-above-it`,
  severity: 'error',
  from: { path: `^${source}/${layer}/` },
  to: { path: `^${source}/(${layers.slice(position + 1).join('|')})/` },
}))

module.exports = {
  forbidden: [
    ...upward,
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'known-layers-only',
      comment: 'A new folder needs its place in the order.',
      severity: 'error',
      from: {},
      to: { path: `^${source}/[^/]+/`, pathNot: `^${source}/(${layers.join('|')})/` },
    },
    {
      name: 'layers-do-not-import-the-public-face',
      severity: 'error',
      from: { path: `^${source}/[^/]+/`, pathNot: testing },
      to: { path: `^${source}/[^/]+\\.ts$` },
    },
    {
      name: 'only-os-calls-koffi',
      severity: 'error',
      // The one test that cuts the power of a file system asks the kernel for it.
      from: { pathNot: [`^${source}/os/libc\\.ts$`, '^test/simulation/real-power-loss'] },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'others-use-the-public-face',
      comment: 'Tests may look inside, through the export that says so.',
      severity: 'error',
      from: { path: '^packages/(?!hyphadb/)', pathNot: testing },
      to: { path: '^packages/hyphadb/(src|dist)/.+/' },
    },
    {
      name: 'no-tests-in-the-product',
      severity: 'error',
      from: { pathNot: `${testing}|^test/` },
      to: { path: testing },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules|/dist/' },
    exclude: { path: '(^|/)dist/' },
    tsPreCompilationDeps: 'specify',
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
}
