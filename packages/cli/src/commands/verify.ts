/** `hypha verify`: everything checked, every fault listed. */
import { describeTree } from '../describe-tree.js'
import { CodedFailure } from '../failure.js'
import { toJson } from '../json-values.js'
import { withDatabase } from '../open-database.js'
import { Output } from '../output.js'
import { splitReport } from '../verify-report.js'

export async function verifyCommand(directory: string, options: { json?: true }): Promise<void> {
  const report = await withDatabase(directory, { create: false }, async database => await database.verify())
  const { faults, rest } = splitReport(report)
  const output = new Output(process.stdout)
  if (options.json === true) {
    await output.line(toJson({ ok: faults.length === 0, ...rest, faults }))
  } else {
    for (const fault of faults) await output.line(describeFault(fault))
    await output.write(describeTree(rest))
    await output.line(faults.length === 0 ? 'no faults' : `${faults.length} fault${faults.length === 1 ? '' : 's'}`)
  }
  await output.flush()
  if (faults.length > 0) {
    throw new CodedFailure(
      'HYPHA_CORRUPT',
      `${directory} has ${faults.length} fault${faults.length === 1 ? '' : 's'}; restore from a backup, or export what can be read`,
    )
  }
}

function describeFault(fault: unknown): string {
  if (typeof fault === 'string') return fault
  if (typeof fault !== 'object' || fault === null) return String(fault)
  const { message, code, ...place } = fault as Record<string, unknown>
  const where = Object.entries(place)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : toJson(value)}`)
  return [code, message, where.join(', ')].filter(part => part !== undefined && part !== '').join(': ')
}
