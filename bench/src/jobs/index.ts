/** All jobs by name. */
import * as documents from './documents.js'
import type { Job } from './job.js'
import * as reading from './reading.js'
import * as writing from './writing.js'

const JOBS: Readonly<Record<string, Job>> = { ...documents, ...reading, ...writing }

export function jobNamed(name: string): Job {
  const job = Object.hasOwn(JOBS, name) ? JOBS[name] : undefined
  if (job === undefined) throw new Error(`There is no job named ${name}`)
  return job
}
