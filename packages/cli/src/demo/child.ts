/** The frame of each process of the demonstration: its directory is its first argument, a failure is told to the parent. */
import { codeOf, messageOf } from '../failure.js'
import { tellParent } from './messages.js'

export async function runChild(work: (directory: string, args: readonly string[]) => Promise<void>): Promise<void> {
  const [directory = '', ...args] = process.argv.slice(2)
  // Ctrl-C reaches the whole group; the parent decides what happens then.
  process.on('SIGINT', () => undefined)
  try {
    await work(directory, args)
  } catch (error) {
    await tellParent({ kind: 'failed', code: codeOf(error), message: messageOf(error) })
    process.exitCode = 1
  } finally {
    if (process.connected) process.disconnect()
  }
}
