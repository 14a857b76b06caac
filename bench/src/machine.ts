/** What the figures were measured on. */
import { cpus, loadavg, release, totalmem, type } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly system: string
  readonly node: string
  /** Of the last minute, before the run: above 0 the figures are those of a machine with other work. */
  readonly loadBefore: number
  readonly date: string
  readonly versions: Readonly<Record<string, string>>
}

export function describeMachine(versions: Readonly<Record<string, string>>): Machine {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    date: new Date().toISOString(),
    versions,
  }
}
