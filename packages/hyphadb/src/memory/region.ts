/**
 * The region: everything that the participants of one database share in memory, as files under /dev/shm.
 *
 * | file | what | grows |
 * |---|---|---|
 * | <name>.control | see layout.ts | no |
 * | <name>.frame-of, .block-of, .side-of, .page-state, .block-state | the page directory, see pages/directory.ts | with the database |
 * | <name>.frames-<n> | frames, one arena of at most 1 GiB each | with the pool, up to the budget |
 *
 * Thread safety: `grow...` by the holder of the allocator latch; `follow...` by anybody.
 * Invariants
 * 1. A word that announces memory (PAGES_READY, BLOCKS_READY, FRAMES_READY) is stored after the memory is allocated.
 * 2. The name of a region stands in the database's `region` file only after the region is complete.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from '../base/assert.js'
import { HyphaError, isHyphaError } from '../base/errors.js'
import { MAX_ARENA_BYTES } from '../base/limits.js'
import { GrowableMapping } from '../os/shared-memory.js'
import { ControlMemory } from './control-memory.js'
import * as L from './layout.js'
import { PageMemory } from './page-memory.js'

export interface RegionIdentity {
  databaseId: Uint8Array // 16 bytes
  nonce: Uint8Array // 16 bytes
  bootId: string
  attachDevice: number
  attachInode: number
}

export interface RegionOptions {
  pageSize: number
  framesMax: number
  pagesMax: number
  logRingBytes: number
  versionRingBytes: number
  segmentBytes: number
  budget: number
  generation: number
  identity: RegionIdentity
}

const DIRECTORY_STEP = 1 << 16

export class Region {
  readonly control: ControlMemory
  readonly geometry: L.Geometry
  readonly frameOf: Int32Array
  readonly blockOf: Int32Array
  readonly sideOf: Int32Array
  readonly pageState: Uint16Array
  readonly blockState: Uint8Array
  /** Indexed by frame >> framesPerArenaShift. */
  readonly arenas: PageMemory[] = []
  readonly framesPerArenaShift: number
  readonly #files: GrowableMapping[]
  readonly #frameOfFile: GrowableMapping
  readonly #blockOfFile: GrowableMapping
  readonly #sideOfFile: GrowableMapping
  readonly #pageStateFile: GrowableMapping
  readonly #blockStateFile: GrowableMapping
  readonly #arenaFiles: GrowableMapping[] = []
  /** Frames that this process has mapped. */
  framesMapped = 0

  private constructor(
    readonly name: string,
    controlFile: GrowableMapping,
    geometry: L.Geometry,
    open: (suffix: string, bytes: number) => GrowableMapping,
  ) {
    this.geometry = geometry
    this.control = new ControlMemory(controlFile.view, Number(controlFile.address))
    const { pagesMax, framesMax, pageSize } = geometry
    this.#frameOfFile = open('frame-of', pagesMax * 4)
    this.#blockOfFile = open('block-of', pagesMax * 4)
    this.#sideOfFile = open('side-of', pagesMax * 4)
    this.#pageStateFile = open('page-state', pagesMax * 2)
    this.#blockStateFile = open('block-state', pagesMax * 2)
    this.frameOf = new Int32Array(this.#frameOfFile.view)
    this.blockOf = new Int32Array(this.#blockOfFile.view)
    this.sideOf = new Int32Array(this.#sideOfFile.view)
    this.pageState = new Uint16Array(this.#pageStateFile.view)
    this.blockState = new Uint8Array(this.#blockStateFile.view)
    this.framesPerArenaShift = Math.log2(MAX_ARENA_BYTES / pageSize)
    const perArena = 1 << this.framesPerArenaShift
    for (let first = 0, n = 0; first < framesMax; first += perArena, n++) {
      const frames = Math.min(perArena, framesMax - first)
      const file = open(`frames-${n}`, Math.ceil((frames * pageSize) / 4096) * 4096)
      this.#arenaFiles.push(file)
      this.arenas.push(new PageMemory(file.view))
    }
    this.#files = [
      controlFile,
      this.#frameOfFile,
      this.#blockOfFile,
      this.#sideOfFile,
      this.#pageStateFile,
      this.#blockStateFile,
      ...this.#arenaFiles,
    ]
  }

  /** Builds a region with state BUILDING. HYPHA_SHM_FULL leaves nothing behind. */
  static create(name: string, options: RegionOptions): Region {
    const geometry = L.geometryOf(
      options.pageSize,
      options.framesMax,
      options.pagesMax,
      options.logRingBytes,
      options.versionRingBytes,
    )
    const made: GrowableMapping[] = []
    const make = (suffix: string, bytes: number): GrowableMapping => {
      const file = GrowableMapping.create(`${name}.${suffix}`, bytes)
      made.push(file)
      return file
    }
    try {
      const controlFile = make('control', geometry.controlBytes)
      controlFile.grow(geometry.controlBytes)
      const region = new Region(name, controlFile, geometry, make)
      region.#writeHeader(options)
      region.growDirectory(2, 2)
      return region
    } catch (error) {
      for (const file of made) {
        file.unlink()
        file.close()
      }
      throw error
    }
  }

  #writeHeader(options: RegionOptions): void {
    const { i32, f64, u8, buffer } = this.control
    i32[L.HEADER_LAYOUT_I] = L.LAYOUT_VERSION
    i32[L.HEADER_STATE_I] = L.STATE_BUILDING
    i32[L.HEADER_GENERATION_I] = options.generation
    i32[L.HEADER_PAGE_SIZE_I] = options.pageSize
    i32[L.HEADER_FRAMES_MAX_I] = options.framesMax
    i32[L.HEADER_PAGES_MAX_I] = options.pagesMax
    f64[L.HEADER_ATTACH_DEVICE_F] = options.identity.attachDevice
    f64[L.HEADER_ATTACH_INODE_F] = options.identity.attachInode
    f64[L.HEADER_SIZE_F] = this.geometry.controlBytes
    f64[L.HEADER_BUDGET_F] = options.budget
    f64[L.HEADER_LOG_RING_BYTES_F] = options.logRingBytes
    f64[L.HEADER_VERSION_RING_BYTES_F] = options.versionRingBytes
    f64[L.HEADER_SEGMENT_BYTES_F] = options.segmentBytes
    u8.set(options.identity.databaseId, L.HEADER_DATABASE_ID_OFFSET)
    u8.set(options.identity.nonce, L.HEADER_NONCE_OFFSET)
    buffer.write(options.identity.bootId, L.HEADER_BOOT_ID_OFFSET, 36, 'latin1')
    Atomics.store(i32, L.HEADER_MAGIC_I, L.REGION_MAGIC)
  }

  /** Maps an existing region, or returns undefined when its control file is gone. HYPHA_VERSION for another layout. */
  static open(name: string): Region | undefined {
    const path = `${name}.control`
    let probe: GrowableMapping
    try {
      probe = GrowableMapping.open(path, 4096)
    } catch (error) {
      if (isHyphaError(error, 'HYPHA_NOT_FOUND')) return undefined
      throw error
    }
    let header: ControlMemory
    try {
      if (probe.fileBytes() < 4096) return undefined
      probe.follow(4096)
      header = new ControlMemory(probe.view.slice(0, 4096), 0)
    } finally {
      probe.close()
    }
    const { i32, f64 } = header
    if ((i32[L.HEADER_MAGIC_I] as number) !== L.REGION_MAGIC) return undefined
    if ((i32[L.HEADER_LAYOUT_I] as number) !== L.LAYOUT_VERSION) {
      throw new HyphaError(
        'HYPHA_VERSION',
        `The shared region has layout ${i32[L.HEADER_LAYOUT_I]}, this version of HyphaDB has ${L.LAYOUT_VERSION}. Close the database everywhere, then open it with one version`,
      )
    }
    const geometry = L.geometryOf(
      i32[L.HEADER_PAGE_SIZE_I] as number,
      i32[L.HEADER_FRAMES_MAX_I] as number,
      i32[L.HEADER_PAGES_MAX_I] as number,
      f64[L.HEADER_LOG_RING_BYTES_F] as number,
      f64[L.HEADER_VERSION_RING_BYTES_F] as number,
    )
    const controlFile = GrowableMapping.open(path, geometry.controlBytes)
    controlFile.follow(geometry.controlBytes)
    const region = new Region(name, controlFile, geometry, (suffix, bytes) =>
      GrowableMapping.open(`${name}.${suffix}`, bytes),
    )
    region.followDirectory()
    region.followFrames()
    return region
  }

  /** Paths of the regions in a directory whose names begin so. */
  static namesIn(directory: string, prefix: string): string[] {
    const suffix = '.control'
    return readdirSync(directory)
      .filter(name => name.startsWith(prefix) && name.endsWith(suffix))
      .map(name => join(directory, name.slice(0, -suffix.length)))
  }

  get state(): number {
    return Atomics.load(this.control.i32, L.HEADER_STATE_I)
  }

  get generation(): number {
    return this.control.i32[L.HEADER_GENERATION_I] as number
  }

  identity(): RegionIdentity {
    const { u8, f64, buffer } = this.control
    return {
      databaseId: Uint8Array.from(u8.subarray(L.HEADER_DATABASE_ID_OFFSET, L.HEADER_DATABASE_ID_OFFSET + 16)),
      nonce: Uint8Array.from(u8.subarray(L.HEADER_NONCE_OFFSET, L.HEADER_NONCE_OFFSET + 16)),
      bootId: buffer.latin1Slice(L.HEADER_BOOT_ID_OFFSET, L.HEADER_BOOT_ID_OFFSET + 36),
      attachDevice: f64[L.HEADER_ATTACH_DEVICE_F] as number,
      attachInode: f64[L.HEADER_ATTACH_INODE_F] as number,
    }
  }

  // The page directory

  /** Room for page ids below `pages` and blocks below `blocks`. */
  growDirectory(pages: number, blocks: number): void {
    const { i32 } = this.control
    const { pagesMax } = this.geometry
    if (pages > (i32[L.PAGES_READY_I] as number)) {
      if (pages > pagesMax) throw tooLarge(pagesMax, this.geometry.pageSize)
      const next = Math.min(pagesMax, Math.ceil(pages / DIRECTORY_STEP) * DIRECTORY_STEP)
      this.#frameOfFile.grow(next * 4)
      this.#blockOfFile.grow(next * 4)
      this.#sideOfFile.grow(next * 4)
      this.#pageStateFile.grow(next * 2)
      Atomics.store(i32, L.PAGES_READY_I, next)
    }
    if (blocks > (i32[L.BLOCKS_READY_I] as number)) {
      if (blocks > pagesMax * 2) throw tooLarge(pagesMax, this.geometry.pageSize)
      const next = Math.min(pagesMax * 2, Math.ceil(blocks / DIRECTORY_STEP) * DIRECTORY_STEP)
      this.#blockStateFile.grow(next)
      Atomics.store(i32, L.BLOCKS_READY_I, next)
    }
    this.followDirectory()
  }

  followDirectory(): void {
    const pages = Atomics.load(this.control.i32, L.PAGES_READY_I)
    const blocks = Atomics.load(this.control.i32, L.BLOCKS_READY_I)
    if (pages === this.pagesMapped && blocks === this.#blockStateFile.mappedBytes) return
    this.#frameOfFile.follow(pages * 4)
    this.#blockOfFile.follow(pages * 4)
    this.#sideOfFile.follow(pages * 4)
    this.#pageStateFile.follow(pages * 2)
    this.#blockStateFile.follow(blocks)
  }

  get pagesMapped(): number {
    return this.#pageStateFile.mappedBytes >> 1
  }

  // Frames

  /** One step more of frames. False when the budget is reached. HYPHA_SHM_FULL when memory is not to be had. */
  growFrames(): boolean {
    const { framesMax, framesPerStep, pageSize } = this.geometry
    const ready = this.control.i32[L.FRAMES_READY_I] as number
    if (ready >= framesMax) return false
    const perArena = 1 << this.framesPerArenaShift
    const arena = ready >> this.framesPerArenaShift
    // The first step is small, so that opening is quick; then as much again as there is.
    const step = Math.min(framesPerStep, Math.max(ready, framesPerStep >> 3))
    const next = Math.min(framesMax, ready + Math.max(1, step), (arena + 1) * perArena)
    const file = this.#arenaFiles[arena]
    assert(file !== undefined, 'every frame has an arena')
    file.grow(Math.ceil(((next - arena * perArena) * pageSize) / 4096) * 4096)
    Atomics.store(this.control.i32, L.FRAMES_READY_I, next)
    this.followFrames()
    return true
  }

  followFrames(): void {
    const ready = Atomics.load(this.control.i32, L.FRAMES_READY_I)
    const perArena = 1 << this.framesPerArenaShift
    this.#arenaFiles.forEach((file, n) => {
      const frames = Math.min(perArena, ready - n * perArena)
      if (frames > 0) file.follow(Math.ceil((frames * this.geometry.pageSize) / 4096) * 4096)
    })
    this.framesMapped = ready
  }

  /** The names leave /dev/shm; whoever has the region mapped keeps it. */
  unlink(): void {
    for (const file of this.#files) file.unlink()
  }

  /** False once a name has vanished: nobody new can join. */
  nameStands(): boolean {
    return this.#files.every(file => file.nameStands())
  }

  /** Gives the memory back; views read zeros afterwards. */
  detach(): void {
    for (const file of this.#files) {
      file.replaceWithZeros()
      file.close()
    }
  }
}

function tooLarge(pagesMax: number, pageSize: number): HyphaError {
  return new HyphaError(
    'HYPHA_DISK_FULL',
    `The database has grown to ${pagesMax} pages of ${pageSize} bytes, for which this opening had made room. Close it in all processes and open it again to go on`,
  )
}
