/** The checker finds in made-up histories what is wrong with them, and nothing in good ones. */
import { describe, expect, it } from 'vitest'
import { checkHistory, type ListOperation, type ListTransaction } from './history.js'

let processes = 0
const did = (...operations: ListOperation[]): ListTransaction => ({ process: processes++, committed: true, operations })
const read = (key: number, ...list: number[]): ListOperation => ({ kind: 'read', key, list })
const append = (key: number, value: number): ListOperation => ({ kind: 'append', key, value })
const finally_ = (...lists: [number, number[]][]): Map<number, number[]> => new Map(lists)

describe('the checker of histories', () => {
  it('accepts a serial history', () => {
    const history = [did(append(1, 10)), did(read(1, 10), append(2, 20)), did(read(2, 20), read(1, 10))]
    expect(checkHistory(history, finally_([1, [10]], [2, [20]]), 'serializable')).toEqual([])
  })

  it('finds write skew, which a snapshot allows', () => {
    const history = [did(read(1), append(2, 20)), did(read(2), append(1, 10))]
    const final = finally_([1, [10]], [2, [20]])
    expect(checkHistory(history, final, 'serializable').join()).toMatch('cycle')
    expect(checkHistory(history, final, 'snapshot')).toEqual([])
  })

  it('finds a lost update, which no level allows', () => {
    const history = [did(append(1, 1)), did(read(1, 1), append(1, 2)), did(read(1, 1), append(1, 3))]
    expect(checkHistory(history, finally_([1, [1, 2, 3]]), 'snapshot').join()).toMatch('cycle')
    expect(checkHistory(history, finally_([1, [1, 3]]), 'snapshot').join()).toMatch('lost 2')
  })

  it('finds half a transaction seen by a reader', () => {
    const history = [did(append(1, 1), append(2, 2)), did(read(1, 1), read(2))]
    expect(checkHistory(history, finally_([1, [1]], [2, [2]]), 'snapshot').join()).toMatch('cycle')
  })

  it('finds two writers who saw each other', () => {
    const history = [did(append(1, 1), read(2, 2)), did(append(2, 2), read(1, 1))]
    expect(checkHistory(history, finally_([1, [1]], [2, [2]]), 'snapshot').join()).toMatch('cycle')
  })

  it('finds two readers who disagree about the order of two writers', () => {
    const history = [did(append(1, 1)), did(append(2, 2)), did(read(1, 1), read(2)), did(read(1), read(2, 2))]
    const final = finally_([1, [1]], [2, [2]])
    expect(checkHistory(history, final, 'snapshot').join()).toMatch('cycle')
    expect(checkHistory(history, final, 'serializable').join()).toMatch('cycle')
  })

  it('finds a process that does not see what it did before', () => {
    const history: ListTransaction[] = [
      { process: 1000, committed: true, operations: [append(1, 1)] },
      { process: 1000, committed: true, operations: [read(1)] },
    ]
    expect(checkHistory(history, finally_([1, [1]]), 'snapshot').join()).toMatch('cycle')
  })

  it('finds values of transactions that were given up, and reads that change', () => {
    const givenUp = { ...did(append(1, 1)), committed: false }
    expect(checkHistory([givenUp], finally_([1, [1]]), 'snapshot').join()).toMatch('nobody committed')
    const unsteady = [did(append(1, 1)), did(read(1), read(1, 1))]
    expect(checkHistory(unsteady, finally_([1, [1]]), 'snapshot').join()).toMatch('then as 1')
  })
})
