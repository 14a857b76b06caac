/** What `db.verify()` gives, read without knowing its figures: faults, and the rest. */

/** The faults apart from the figures. */
export function splitReport(report: unknown): { faults: unknown[]; rest: Record<string, unknown> } {
  if (Array.isArray(report)) return { faults: report, rest: {} }
  if (typeof report !== 'object' || report === null) return { faults: [], rest: {} }
  const { faults, ok: _ok, ...rest } = report as Record<string, unknown>
  return { faults: Array.isArray(faults) ? faults : [], rest }
}
