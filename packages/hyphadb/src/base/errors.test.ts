import { describe, expect, it } from 'vitest'
import { AssertionError, assert, costlyChecks, unreachable } from './assert.js'
import { errnoName, errorCodes, fromErrno, HyphaError, isHyphaError, systemErrorName } from './errors.js'

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: it failed`), { code })
}

describe('HyphaError', () => {
  it('carries code, message, cause and whether another try may help', () => {
    const cause = new Error('below')
    const error = new HyphaError('HYPHA_CONFLICT', 'Run the transaction again', { cause })
    expect(error).toBeInstanceOf(Error)
    expect(error.name).toBe('HyphaError')
    expect(error.cause).toBe(cause)
    expect(error.retriable).toBe(true)
    expect(String(error)).toBe('HyphaError: Run the transaction again')
    expect('cause' in new HyphaError('HYPHA_INVALID', 'No')).toBe(false)
  })

  it('takes retriable from the table for every code', () => {
    for (const [code, { retriable }] of Object.entries(errorCodes)) {
      expect(new HyphaError(code as keyof typeof errorCodes, 'x').retriable).toBe(retriable)
    }
  })

  it('is told from other errors by code', () => {
    const error = new HyphaError('HYPHA_BUSY', 'x')
    expect(isHyphaError(error)).toBe(true)
    expect(isHyphaError(error, 'HYPHA_BUSY')).toBe(true)
    expect(isHyphaError(error, 'HYPHA_IO')).toBe(false)
    expect(isHyphaError(new Error('x'))).toBe(false)
  })
})

describe('fromErrno', () => {
  it.each([
    ['ENOSPC', 'HYPHA_DISK_FULL'],
    ['EDQUOT', 'HYPHA_DISK_FULL'],
    ['EFBIG', 'HYPHA_DISK_FULL'],
    ['EEXIST', 'HYPHA_INVALID'],
    ['EMFILE', 'HYPHA_TOO_MANY_FILES'],
    ['ENFILE', 'HYPHA_TOO_MANY_FILES'],
    ['EACCES', 'HYPHA_PERMISSION'],
    ['EPERM', 'HYPHA_PERMISSION'],
    ['EROFS', 'HYPHA_READ_ONLY'],
    ['ENOMEM', 'HYPHA_NO_MEMORY'],
    ['ENOENT', 'HYPHA_NOT_FOUND'],
    ['ENOTDIR', 'HYPHA_INVALID'],
    ['EOPNOTSUPP', 'HYPHA_UNSUPPORTED'],
    ['EIO', 'HYPHA_IO'],
    ['ENEVERHEARD', 'HYPHA_IO'],
  ] as const)('turns %s into %s and names operation, path and reason', (name, code) => {
    const cause = systemError(name)
    const error = fromErrno(cause, 'write', '/db/data')
    expect(error.code).toBe(code)
    expect(error.message).toMatch(/^Cannot write \/db\/data: /)
    expect(error.message).toContain(name)
    expect(error.cause).toBe(cause)
  })

  it('tells a full disk from full shared memory', () => {
    expect(fromErrno(28, 'grow', '/dev/shm/x', 'shared-memory').code).toBe('HYPHA_SHM_FULL')
    expect(fromErrno(28, 'grow', '/db/data', 'disk').code).toBe('HYPHA_DISK_FULL')
  })

  it('passes our own errors through, and wraps what is no error of the system', () => {
    const ours = new HyphaError('HYPHA_CLOSED', 'x')
    expect(fromErrno(ours, 'read')).toBe(ours)
    expect(fromErrno('surprise', 'read').message).toBe('Cannot read: surprise')
    expect(systemErrorName(ours)).toBeUndefined()
    expect(systemErrorName(systemError('ENXIO'))).toBe('ENXIO')
    expect(errnoName(4711)).toBe('errno 4711')
  })
})

describe('assert', () => {
  it('throws HYPHA_ASSERTION with the static message only when the condition fails', () => {
    expect(() => assert(true, 'fine')).not.toThrow()
    expect(() => assert(false, 'slots are sorted')).toThrow(AssertionError)
    expect(() => assert(0, 'slots are sorted')).toThrow('slots are sorted')
    expect(() => unreachable('no such kind')).toThrow('no such kind')
    expect(isHyphaError(new AssertionError('x'), 'HYPHA_ASSERTION')).toBe(true)
  })

  it('has costly checks on in tests', () => {
    expect(costlyChecks).toBe(true)
  })
})
