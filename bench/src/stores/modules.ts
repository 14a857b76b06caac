/** The peers' modules, found only where they are installed, and the part of their types that is used here. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export interface LmdbRange<T> {
  readonly asArray: readonly T[]
  [Symbol.iterator](): Iterator<T>
}

export interface LmdbDatabase<V, K> {
  get(key: K): V | undefined
  getBinary(key: K): Buffer | undefined
  getBinaryFast(key: K): Buffer | undefined
  put(key: K, value: V): Promise<boolean>
  transaction<T>(work: () => T): Promise<T>
  getRange(options: Record<string, unknown>): LmdbRange<{ key: K; value: V }>
  readonly flushed: Promise<boolean>
  close(): Promise<void>
}

export interface LmdbRoot<V, K> extends LmdbDatabase<V, K> {
  openDB<OV, OK>(options: Record<string, unknown>): LmdbDatabase<OV, OK>
}

interface LmdbModule {
  open<V, K>(path: string, options: Record<string, unknown>): LmdbRoot<V, K>
}

export interface SqliteStatement {
  run(...parameters: unknown[]): unknown
  get(...parameters: unknown[]): unknown
  all(...parameters: unknown[]): unknown[]
  iterate(...parameters: unknown[]): IterableIterator<unknown>
  raw(): SqliteStatement
  pluck(): SqliteStatement
}

export interface SqliteDatabase {
  pragma(source: string): unknown
  exec(source: string): unknown
  prepare(source: string): SqliteStatement
  transaction<A extends unknown[]>(
    work: (...parameters: A) => void,
  ): {
    (...parameters: A): void
    immediate(...parameters: A): void
  }
  close(): void
}

type SqliteModule = new (path: string, options?: Record<string, unknown>) => SqliteDatabase

export interface LevelOperation {
  type: 'put'
  key: Buffer | string
  value: Buffer | string
}

export interface LevelIterator<V> {
  nextv(size: number): Promise<[Buffer | string, V][]>
  all(): Promise<[Buffer | string, V][]>
  close(): Promise<void>
}

export interface LevelDatabase<V> {
  open(): Promise<void>
  getSync(key: Buffer | string): V | undefined
  put(key: Buffer | string, value: V, options?: { sync?: boolean }): Promise<void>
  batch(operations: LevelOperation[], options?: Record<string, unknown>): Promise<void>
  iterator(options: Record<string, unknown>): LevelIterator<V>
  close(): Promise<void>
}

interface LevelModule {
  ClassicLevel: new <V>(path: string, options: Record<string, unknown>) => LevelDatabase<V>
}

export const loadLmdb = (): LmdbModule => require('lmdb') as LmdbModule
export const loadSqlite = (): SqliteModule => require('better-sqlite3') as SqliteModule
export const loadLevel = (): LevelModule => require('classic-level') as LevelModule

export function isInstalled(module: string): boolean {
  try {
    require.resolve(module)
    return true
  } catch {
    return false
  }
}
