/**
 * A disk that forgets. It keeps what programs see beside what is certain, and the changes in between: `afterPowerLoss`
 * makes the disk that a power failure might leave, with each of these changes kept, lost or torn.
 *
 * | change | until | after a power loss |
 * |---|---|---|
 * | write | the file's sync | each by itself kept, lost, or torn: any subset of its sectors |
 * | size (growth, allocation, truncation) | the file's sync | kept or lost; what lies beyond the size is gone |
 * | name (create, rename, unlink, directory) | its directory's sync | a prefix of them all, or any subset |
 *
 * Invariants
 * 1. A sector that survives holds what programs saw after that write: the page cache knows no half sectors.
 * 2. A rename is one change: no power loss sees half of it.
 * 3. A name may survive without its file's contents, and contents without a name are lost.
 *
 * Contents are pages of 4 KiB that are never changed in place, so that a copy of the whole disk costs one array a file.
 */
import { HyphaError } from 'hyphadb/internal/base/errors.js'
import type { SeededRandom } from 'hyphadb/internal/base/random.js'
import type { FileHandle, FileIdentity, FileSystem, OpenOptions } from 'hyphadb/internal/os/file-system.js'

const SECTOR_BYTES = 512
const CHUNK_BYTES = 4096

export type OperationKind = 'write' | 'sync' | 'syncDirectory' | 'name' | 'allocate' | 'truncate'

/** Thrown by whatever uses a disk whose power has failed. */
export class PowerLoss extends Error {
  constructor() {
    super('the power has failed')
  }
}

/** Bytes of a file: chunks that are shared between copies, holes where nothing was written. */
class Content {
  size = 0
  #chunks: (Buffer | undefined)[] = []

  copy(): Content {
    const copy = new Content()
    copy.size = this.size
    copy.#chunks = this.#chunks.slice()
    return copy
  }

  read(target: Uint8Array, offset: number, length: number, position: number): number {
    const end = Math.min(position + length, this.size)
    for (let at = position; at < end; ) {
      const within = at % CHUNK_BYTES
      const count = Math.min(CHUNK_BYTES - within, end - at)
      const chunk = this.#chunks[(at - within) / CHUNK_BYTES]
      const to = offset + at - position
      if (chunk === undefined) target.fill(0, to, to + count)
      else target.set(chunk.subarray(within, within + count), to)
      at += count
    }
    return Math.max(0, end - position)
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length
    for (let at = position; at < end; ) {
      const within = at % CHUNK_BYTES
      const count = Math.min(CHUNK_BYTES - within, end - at)
      const index = (at - within) / CHUNK_BYTES
      const old = this.#chunks[index]
      const chunk = old === undefined ? Buffer.alloc(CHUNK_BYTES) : Buffer.from(old)
      chunk.set(bytes.subarray(at - position, at - position + count), within)
      this.#chunks[index] = chunk
      at += count
    }
    this.size = Math.max(this.size, end)
  }

  resize(size: number): void {
    if (size < this.size) {
      const chunks = Math.ceil(size / CHUNK_BYTES)
      this.#chunks.length = Math.min(this.#chunks.length, chunks)
      const last = this.#chunks[chunks - 1]
      if (last !== undefined && size % CHUNK_BYTES !== 0) {
        this.#chunks[chunks - 1] = Buffer.from(last).fill(0, size % CHUNK_BYTES)
      }
    }
    this.size = size
  }
}

/** `sectors` are the whole sectors that the write touched, as they were seen after it. */
type Change = { kind: 'write'; start: number; sectors: Buffer; size: number } | { kind: 'size'; size: number }

class FileNode {
  seen = new Content()
  certain = new Content()
  changes: Change[] = []
  /** How many changes have become certain. */
  #changesBefore = 0

  constructor(readonly number: number) {}

  write(bytes: Uint8Array, position: number): void {
    this.seen.write(bytes, position)
    const start = position - (position % SECTOR_BYTES)
    const end = Math.ceil((position + bytes.length) / SECTOR_BYTES) * SECTOR_BYTES
    const sectors = Buffer.alloc(end - start)
    this.seen.read(sectors, 0, sectors.length, start)
    this.changes.push({ kind: 'write', start, sectors, size: this.seen.size })
  }

  resize(size: number): void {
    if (size === this.seen.size) return
    this.seen.resize(size)
    this.changes.push({ kind: 'size', size })
  }

  /** What a sync that begins now will make certain: nothing that is written while it is under way. */
  beginSync(): () => void {
    const content = this.seen.copy()
    const changes = this.#changesBefore + this.changes.length
    return () => {
      // Another sync may have covered more meanwhile.
      if (changes < this.#changesBefore) return
      this.certain = content
      this.changes = this.changes.slice(changes - this.#changesBefore)
      this.#changesBefore = changes
    }
  }

  sync(): void {
    this.beginSync()()
  }

  /** What the platter holds after a power loss. `survives` decides about the n-th change; undefined: chance does. */
  survivor(random: SeededRandom, survives?: (n: number) => boolean | undefined): FileNode {
    const node = new FileNode(this.number)
    node.certain = this.certain.copy()
    const odds = random.pick([0, 0.2, 0.5, 0.8, 1])
    const sizeOdds = random.pick([0, odds, 1])
    let size = node.certain.size
    for (const [n, change] of this.changes.entries()) {
      const decided = survives?.(n)
      if (decided === false) continue
      if (change.kind === 'size') {
        if (decided === undefined && !random.chance(sizeOdds)) continue
        node.certain.resize(change.size)
        size = change.size
      } else {
        if (change.size > size && (decided === true || random.chance(sizeOdds))) size = change.size
        if (decided === true) node.certain.write(change.sectors, change.start)
        else this.#keep(change.start, change.sectors, node.certain, random, odds)
      }
    }
    node.certain.resize(size)
    node.seen = node.certain.copy()
    return node
  }

  #keep(start: number, sectors: Buffer, into: Content, random: SeededRandom, odds: number): void {
    const torn = sectors.length > SECTOR_BYTES && random.chance(0.4)
    if (!torn) {
      if (random.chance(odds)) into.write(sectors, start)
      return
    }
    for (let at = 0; at < sectors.length; at += SECTOR_BYTES) {
      if (random.chance(0.5)) into.write(sectors.subarray(at, at + SECTOR_BYTES), start + at)
    }
  }
}

class DirectoryNode {
  names = new Map<string, Node>()
  certainNames = new Map<string, Node>()

  constructor(readonly number: number) {}
}

type Node = FileNode | DirectoryNode

/** Names set and removed in one directory, together. */
interface NameChange {
  readonly directory: DirectoryNode
  readonly set: [name: string, node: Node][]
  readonly removed: string[]
}

function applyNames(names: Map<string, Node>, change: NameChange): void {
  for (const name of change.removed) names.delete(name)
  for (const [name, node] of change.set) names.set(name, node)
}

export class SimulatedDisk implements FileSystem {
  /** Operations so far that a power loss could fall into. */
  operations = 0
  syncs = 0
  /** Bytes that files may still grow by. */
  freeSpace = Number.MAX_SAFE_INTEGER
  /**
   * Called at each operation, when a write or name change is under way (nothing of it is certain) and before a sync has
   * any effect. What it throws, the operation throws.
   */
  onOperation: ((kind: OperationKind, path: string) => void) | undefined
  /** Called before anything of an operation happens; what it throws, the operation throws, with nothing done. */
  beforeOperation: ((kind: OperationKind | 'read' | 'open', path: string) => void) | undefined
  /** Where programs see this disk. Its root directory has always been there. */
  mount: string
  #root = new DirectoryNode(1)
  #nameChanges: NameChange[] = []
  #nextNumber = 2
  #on = true

  constructor(mount: string) {
    this.mount = mount
  }

  /** Everything that has this disk open fails from now on. */
  powerOff(): void {
    this.#on = false
  }

  /**
   * The disk that is found when the power comes back, were it to fail now. This one goes on. `survives` may decide about
   * the n-th unsynced change of a file, by the end of its path.
   */
  afterPowerLoss(random: SeededRandom, survives?: (name: string, n: number) => boolean | undefined): SimulatedDisk {
    const disk = new SimulatedDisk(this.mount)
    disk.freeSpace = this.freeSpace
    disk.#nextNumber = this.#nextNumber
    const certain = new Map<DirectoryNode, Map<string, Node>>()
    const namesOf = (directory: DirectoryNode): Map<string, Node> => {
      let names = certain.get(directory)
      if (names === undefined) {
        names = new Map(directory.certainNames)
        certain.set(directory, names)
      }
      return names
    }
    for (const change of this.#survivingNames(random)) applyNames(namesOf(change.directory), change)
    const copies = new Map<Node, Node>()
    const copy = (node: Node, name: string): Node => {
      let made = copies.get(node)
      if (made !== undefined) return made
      if (node instanceof FileNode) made = node.survivor(random, survives && (n => survives(name, n)))
      else {
        made = new DirectoryNode(node.number)
        for (const [childName, child] of namesOf(node)) made.names.set(childName, copy(child, childName))
        made.certainNames = new Map(made.names)
      }
      copies.set(node, made)
      return made
    }
    disk.#root = copy(this.#root, '') as DirectoryNode
    return disk
  }

  #survivingNames(random: SeededRandom): NameChange[] {
    const all = this.#nameChanges
    if (random.chance(0.5)) return all.slice(0, random.below(all.length + 1))
    return all.filter(() => random.chance(0.5))
  }

  /** An exact copy as of now, nothing lost: what other processes see after all users of this disk were killed. */
  copyAsSeen(): SimulatedDisk {
    const disk = new SimulatedDisk(this.mount)
    disk.freeSpace = this.freeSpace
    disk.#nextNumber = this.#nextNumber
    const copy = (node: Node): Node => {
      if (node instanceof FileNode) {
        const made = new FileNode(node.number)
        made.seen = node.seen.copy()
        made.sync()
        return made
      }
      const made = new DirectoryNode(node.number)
      for (const [name, child] of node.names) made.names.set(name, copy(child))
      made.certainNames = new Map(made.names)
      return made
    }
    disk.#root = copy(this.#root) as DirectoryNode
    return disk
  }

  // FileSystem

  open(path: string, options: OpenOptions = {}): FileHandle {
    this.#checkPower()
    this.beforeOperation?.('open', path)
    const { directory, name } = this.#place(path)
    let node = directory?.names.get(name)
    if (node instanceof DirectoryNode) throw new HyphaError('HYPHA_INVALID', `${path} is a directory`)
    const create = options.create ?? 'never'
    if (node !== undefined && create === 'exclusive') throw new HyphaError('HYPHA_INVALID', `${path} exists`)
    if (node === undefined) {
      if (create === 'never' || directory === undefined) throw new HyphaError('HYPHA_NOT_FOUND', `There is no ${path}`)
      node = new FileNode(this.#nextNumber++)
      this.#changeNames(path, { directory, set: [[name, node]], removed: [] })
    }
    return new SimulatedFile(this, path, node)
  }

  makeDirectory(path: string): void {
    this.#checkPower()
    let directory = this.#root
    let sofar = this.mount
    for (const part of this.#parts(path)) {
      sofar += `/${part}`
      let node = directory.names.get(part)
      if (node instanceof FileNode) throw new HyphaError('HYPHA_INVALID', `${sofar} is a file`)
      if (node === undefined) {
        node = new DirectoryNode(this.#nextNumber++)
        this.#changeNames(sofar, { directory, set: [[part, node]], removed: [] })
      }
      directory = node
    }
  }

  list(path: string): string[] {
    return [...this.#directory(path).names.keys()].sort()
  }

  rename(from: string, to: string): void {
    this.#checkPower()
    const source = this.#place(from)
    const target = this.#place(to)
    const node = source.directory?.names.get(source.name)
    if (node === undefined || source.directory === undefined || source.directory !== target.directory) {
      throw new HyphaError('HYPHA_NOT_FOUND', `There is no ${from}`)
    }
    this.#changeNames(to, { directory: source.directory, set: [[target.name, node]], removed: [source.name] })
  }

  unlink(path: string): void {
    this.#checkPower()
    const { directory, name } = this.#place(path)
    if (directory?.names.has(name)) this.#changeNames(path, { directory, set: [], removed: [name] })
  }

  syncDirectory(path: string): void {
    this.#checkPower()
    const directory = this.#directory(path)
    this.operation('syncDirectory', path)
    const others: NameChange[] = []
    for (const change of this.#nameChanges) {
      if (change.directory === directory) applyNames(directory.certainNames, change)
      else others.push(change)
    }
    this.#nameChanges = others
  }

  exists(path: string): boolean {
    this.#checkPower()
    if (this.#parts(path).length === 0) return true
    const { directory, name } = this.#place(path)
    return directory?.names.has(name) ?? false
  }

  identity(path: string): FileIdentity {
    const { directory, name } = this.#place(path)
    const node = directory?.names.get(name)
    if (node === undefined) throw new HyphaError('HYPHA_NOT_FOUND', `There is no ${path}`)
    return { device: 1, inode: node.number }
  }

  freeBytes(): number {
    return this.freeSpace
  }

  /** @internal Counts an operation; who watches may cut the power here. */
  operation(kind: OperationKind, path: string): void {
    this.operations++
    this.onOperation?.(kind, path)
    this.#checkPower()
  }

  /** @internal */
  before(kind: OperationKind | 'read', path: string): void {
    this.#checkPower()
    this.beforeOperation?.(kind, path)
  }

  #checkPower(): void {
    if (!this.#on) throw new PowerLoss()
  }

  #changeNames(path: string, change: NameChange): void {
    this.before('name', path)
    applyNames(change.directory.names, change)
    this.#nameChanges.push(change)
    this.operation('name', path)
  }

  #directory(path: string): DirectoryNode {
    let node: Node | undefined = this.#root
    for (const part of this.#parts(path)) node = node instanceof DirectoryNode ? node.names.get(part) : undefined
    if (!(node instanceof DirectoryNode)) throw new HyphaError('HYPHA_NOT_FOUND', `There is no directory ${path}`)
    return node
  }

  #parts(path: string): string[] {
    if (path !== this.mount && !path.startsWith(`${this.mount}/`)) throw new Error(`${path} is not on this disk`)
    return path
      .slice(this.mount.length)
      .split('/')
      .filter(part => part !== '')
  }

  #place(path: string): { directory: DirectoryNode | undefined; name: string } {
    const all = this.#parts(path)
    const name = all.pop() ?? ''
    let node: Node | undefined = this.#root
    for (const part of all) node = node instanceof DirectoryNode ? node.names.get(part) : undefined
    return { directory: node instanceof DirectoryNode ? node : undefined, name }
  }
}

class SimulatedFile implements FileHandle {
  #closed = false

  constructor(
    readonly disk: SimulatedDisk,
    readonly path: string,
    readonly node: FileNode,
  ) {}

  read(buffer: Uint8Array, offset: number, length: number, position: number): number {
    this.#check()
    this.disk.before('read', this.path)
    return this.node.seen.read(buffer, offset, length, position)
  }

  async readAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    return this.read(buffer, offset, length, position)
  }

  write(buffer: Uint8Array, offset: number, length: number, position: number): void {
    this.#check()
    this.disk.before('write', this.path)
    this.#takeSpace(position + length)
    this.node.write(buffer.subarray(offset, offset + length), position)
    this.disk.operation('write', this.path)
  }

  async writeAsync(buffer: Uint8Array, offset: number, length: number, position: number): Promise<void> {
    this.write(buffer, offset, length, position)
  }

  sync(): void {
    this.#check()
    this.disk.before('sync', this.path)
    this.disk.operation('sync', this.path)
    this.disk.syncs++
    this.node.sync()
  }

  async syncAsync(): Promise<void> {
    this.#check()
    this.disk.before('sync', this.path)
    const finish = this.node.beginSync()
    await new Promise(resolve => setImmediate(resolve))
    this.#check()
    this.disk.operation('sync', this.path)
    this.disk.syncs++
    finish()
  }

  allocate(position: number, length: number): void {
    this.#check()
    this.disk.before('allocate', this.path)
    this.#takeSpace(position + length)
    this.node.resize(Math.max(this.node.seen.size, position + length))
    this.disk.operation('allocate', this.path)
  }

  punchHole(): boolean {
    return false
  }

  truncate(size: number): void {
    this.#check()
    this.disk.before('truncate', this.path)
    this.disk.freeSpace += Math.max(0, this.node.seen.size - size)
    this.node.resize(size)
    this.disk.operation('truncate', this.path)
  }

  size(): number {
    return this.node.seen.size
  }

  identity(): FileIdentity {
    return { device: 1, inode: this.node.number }
  }

  close(): void {
    this.#closed = true
  }

  #takeSpace(end: number): void {
    const more = end - this.node.seen.size
    if (more <= 0) return
    if (more > this.disk.freeSpace) throw new HyphaError('HYPHA_DISK_FULL', `No room for ${this.path}`)
    this.disk.freeSpace -= more
  }

  #check(): void {
    if (this.#closed) throw new HyphaError('HYPHA_CLOSED', `${this.path} has been closed`)
  }
}
