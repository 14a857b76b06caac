/** How long single operations take, and what they were: the longest is what a user would call a stall. */
export class Stalls {
  operations = 0
  longestMs = 0
  longest = ''

  reset(): void {
    this.operations = 0
    this.longestMs = 0
    this.longest = ''
  }

  ended(what: string, startedMs: number): void {
    this.operations++
    const milliseconds = performance.now() - startedMs
    if (milliseconds <= this.longestMs) return
    this.longestMs = milliseconds
    this.longest = what
  }

  run<T>(what: string, work: () => T): T {
    const started = performance.now()
    try {
      return work()
    } finally {
      this.ended(what, started)
    }
  }

  async wait<T>(what: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now()
    try {
      return await work()
    } finally {
      this.ended(what, started)
    }
  }
}
