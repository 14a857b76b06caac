/**
 * Runs dependency-cruiser over the sources and insists that it saw them: with a TypeScript that it does not know it finds
 * no modules, no violations, and says that all is well.
 */
import { createRequire } from 'node:module'
import { cruise } from 'dependency-cruiser'

const { forbidden, options } = createRequire(import.meta.url)('../.dependency-cruiser.cjs')

const { output } = await cruise(['packages', 'test'], { ...options, ruleSet: { forbidden }, validate: true })
const { totalCruised, violations } = output.summary
const sources = output.modules.filter(module => /^packages\/hyphadb\/src\/.*\.ts$/.test(module.source)).length
if (sources === 0) {
  console.error('dependency-cruiser saw none of the sources: its TypeScript support is off')
  process.exit(1)
}
for (const { rule, from, to, cycle } of violations) {
  const way = cycle === undefined ? to : cycle.map(step => step.name).join(' -> ')
  console.error(`${rule.severity} ${rule.name}: ${from} -> ${way}`)
}
console.log(`${totalCruised} modules, ${sources} of them sources of the library, ${violations.length} violations`)
if (violations.length > 0) process.exit(1)
