/**
 * A disk that forgets: what was not synced survives a power loss by chance, sector by sector; names, operation by operation.
 *
 * Each inode has its contents as programs see them and as the platter has them, and the writes in between. Each directory
 * (there is one) has its names in both forms. `crash` throws away or keeps each sector of each unsynced write by itself,
 * so writes are lost, torn and reordered. Names: a random prefix of the unsynced operations survives, as in a journal;
 * a name may survive without its file's contents.
 */
import { basename } from 'node:path'
import { HyphaError } from '../base/errors.js'
import type { SeededRandom } from '../base/random.js'
import type { FileHandle, FileIdentity, FileSystem, OpenOptions } from '../os/file-system.js'

const SECTOR_BYTES = 512

interface Inode {
  readonly number: number
  seen: Buffer
  platter: Buffer
  /** Sectors that differ in what was asked for and what is certain. */
  unsynced: Set<number>
}

type NameOperation = { kind: 'set'; name: string; inode: Inode } | { kind: 'remove'; name: string }

/** Thrown by the operation at which the power fails. */
export class PowerLoss extends Error {}

export class SimulatedDisk implements FileSystem {
  /** Operations until the power fails; Infinity: it does not. */
  operationsLeft = Infinity
  syncs = 0
  /** Bytes that may still be allocated. */
  freeSpace = Infinity
  /** Called before each operation; may throw what the operation then throws. */
  onOperation: ((kind: 'write' | 'sync' | 'syncDirectory' | 'rename' | 'allocate', name: string) => void) | undefined
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  #unsyncedNames: NameOperation[] = []
  #nextInode = 1
  #age = 0

  /** Whoever has files open dies; what was written stays to be read, and unsynced. */
  killProcesses(): void {
    this.#age++
    this.operationsLeft = Infinity
  }

  /** The power fails and comes back; handles from before are dead. */
  crash(random: SeededRandom): void {
    this.#age++
    this.operationsLeft = Infinity
    const survived = random.below(this.#unsyncedNames.length + 1)
    for (const operation of this.#unsyncedNames.slice(0, survived)) apply(this.#durableNames, operation)
    this.#unsyncedNames = []
    this.#names = new Map(this.#durableNames)
    for (const inode of new Set(this.#names.values())) {
      const odds = random.pick([0, 0.5, 1])
      for (const sector of inode.unsynced) if (random.chance(odds)) copySector(inode, sector)
      inode.unsynced.clear()
      // A size that was not synced may be the old one; sectors beyond it are gone.
      inode.seen = Buffer.from(inode.platter)
    }
  }

  open(path: string, options: OpenOptions = {}): FileHandle {
    const name = basename(path)
    let inode = this.#names.get(name)
    if (inode === undefined) {
      if ((options.create ?? 'never') === 'never') throw new HyphaError('HYPHA_NOT_FOUND', `no ${path}`)
      inode = { number: this.#nextInode++, seen: Buffer.alloc(0), platter: Buffer.alloc(0), unsynced: new Set() }
      this.#change({ kind: 'set', name, inode })
    }
    return new SimulatedFile(this, path, inode, this.#age)
  }

  makeDirectory(): void {}

  list(): string[] {
    return [...this.#names.keys()].sort()
  }

  rename(from: string, to: string): void {
    this.operation('rename', basename(to))
    const inode = this.#names.get(basename(from))
    if (inode === undefined) throw new HyphaError('HYPHA_NOT_FOUND', `no ${from}`)
    // One step, on the platter too.
    this.#change({ kind: 'set', name: basename(to), inode }, { kind: 'remove', name: basename(from) })
  }

  unlink(path: string): void {
    if (this.#names.has(basename(path))) this.#change({ kind: 'remove', name: basename(path) })
  }

  syncDirectory(): void {
    this.operation('syncDirectory', '')
    for (const operation of this.#unsyncedNames) apply(this.#durableNames, operation)
    this.#unsyncedNames = []
  }

  exists(path: string): boolean {
    return this.#names.has(basename(path))
  }

  identity(path: string): FileIdentity {
    return { device: 1, inode: this.#names.get(basename(path))?.number ?? 0 }
  }

  freeBytes(): number {
    return this.freeSpace
  }

  /** Counts an operation, and fails it when the time has come. */
  operation(kind: Parameters<NonNullable<SimulatedDisk['onOperation']>>[0], name: string): void {
    if (--this.operationsLeft < 0) throw new PowerLoss('the power failed')
    this.onOperation?.(kind, name)
  }

  checkAge(age: number): void {
    if (age !== this.#age) throw new PowerLoss('this handle is from before the power loss')
  }

  /** A file's bytes, to be changed in place. */
  contentOf(name: string): Buffer {
    return this.#names.get(name)!.seen
  }

  #change(...operations: NameOperation[]): void {
    for (const operation of operations) apply(this.#names, operation)
    if (operations.length === 1) this.#unsyncedNames.push(operations[0]!)
    else this.#unsyncedNames.push(both(operations))
  }
}

/** A rename is one operation: no power loss sees half of it. */
function both(operations: NameOperation[]): NameOperation {
  const [set, remove] = operations
  return { ...set!, also: remove } as NameOperation & { also: NameOperation }
}

function apply(names: Map<string, Inode>, operation: NameOperation & { also?: NameOperation }): void {
  if (operation.kind === 'set') names.set(operation.name, operation.inode)
  else names.delete(operation.name)
  if (operation.also !== undefined) apply(names, operation.also)
}

function copySector(inode: Inode, sector: number): void {
  const start = sector * SECTOR_BYTES
  const end = Math.min(start + SECTOR_BYTES, inode.seen.length)
  if (end <= start) return
  if (inode.platter.length < end)
    inode.platter = Buffer.concat([inode.platter, Buffer.alloc(end - inode.platter.length)])
  inode.seen.copy(inode.platter, start, start, end)
}

class SimulatedFile implements FileHandle {
  readonly #disk: SimulatedDisk
  readonly #inode: Inode
  readonly #age: number
  #closed = false

  constructor(
    disk: SimulatedDisk,
    readonly path: string,
    inode: Inode,
    age: number,
  ) {
    this.#disk = disk
    this.#inode = inode
    this.#age = age
  }

  read(buffer: Uint8Array, offset: number, length: number, position: number): number {
    this.#check()
    return this.#inode.seen.copy(buffer, offset, position, Math.min(position + length, this.#inode.seen.length))
  }

  async readAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    return this.read(buffer, offset, length, position)
  }

  write(buffer: Uint8Array, offset: number, length: number, position: number): void {
    this.#check()
    this.#disk.operation('write', basename(this.path))
    this.#resize(Math.max(this.#inode.seen.length, position + length))
    this.#inode.seen.set(buffer.subarray(offset, offset + length), position)
    this.#touch(position, length)
  }

  async writeAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<void> {
    this.write(buffer, offset, length, position)
  }

  sync(): void {
    this.#check()
    this.#disk.operation('sync', basename(this.path))
    this.#disk.syncs++
    this.#inode.platter = Buffer.from(this.#inode.seen)
    this.#inode.unsynced.clear()
  }

  async syncAsync(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    this.sync()
  }

  allocate(position: number, length: number): void {
    this.#check()
    this.#disk.operation('allocate', basename(this.path))
    const more = position + length - this.#inode.seen.length
    if (more > this.#disk.freeSpace) throw new HyphaError('HYPHA_DISK_FULL', 'the simulated disk is full')
    if (more > 0) this.#disk.freeSpace -= more
    this.#resize(Math.max(this.#inode.seen.length, position + length))
  }

  punchHole(): boolean {
    return false
  }

  truncate(size: number): void {
    this.#check()
    this.#disk.freeSpace += Math.max(0, this.#inode.seen.length - size)
    this.#resize(size)
  }

  size(): number {
    return this.#inode.seen.length
  }

  identity(): FileIdentity {
    return { device: 1, inode: this.#inode.number }
  }

  close(): void {
    this.#closed = true
  }

  #check(): void {
    this.#disk.checkAge(this.#age)
    if (this.#closed) throw new HyphaError('HYPHA_CLOSED', `${this.path} has been closed`)
  }

  #resize(size: number): void {
    const { seen } = this.#inode
    if (size < seen.length) this.#inode.seen = Buffer.from(seen.subarray(0, size))
    else if (size > seen.length) this.#inode.seen = Buffer.concat([seen, Buffer.alloc(size - seen.length)])
    if (size !== seen.length) this.#touch(0, size)
  }

  #touch(position: number, length: number): void {
    const last = Math.floor((position + Math.max(length, 1) - 1) / SECTOR_BYTES)
    for (let sector = Math.floor(position / SECTOR_BYTES); sector <= last; sector++) this.#inode.unsynced.add(sector)
  }
}
