/**
 * The C library, as far as Node does not offer it: mapping, allocation, record locks, futexes, FIFOs. The only file that
 * imports koffi. Functions here are raw: they return what C returns; `lastErrno()` directly after a failed call says why.
 *
 * Addresses are JavaScript numbers: user space ends at 2^47 (2^52 at most on arm64), well below 2^53.
 */
import koffi, { type LibraryHandle } from 'koffi'
import { HyphaError } from '../base/errors.js'

declare const addressBrand: unique symbol
/** A place in this process's memory; means nothing in another process. */
export type Address = number & { readonly [addressBrand]?: true }

/** Numbers of the kernel's interface that differ between architectures. Both are little-endian, as the formats are. */
const FUTEX_NUMBERS: Readonly<Record<string, number>> = { x64: 202, arm64: 98 }

function futexNumber(): number {
  const number = FUTEX_NUMBERS[process.arch]
  if (process.platform !== 'linux' || number === undefined) {
    throw new HyphaError(
      'HYPHA_UNSUPPORTED',
      `HyphaDB runs on Linux on x64 and arm64, not on ${process.platform} ${process.arch}`,
    )
  }
  return number
}

/** Before the library is loaded, so that another platform gets a sentence instead of a missing symbol. */
const SYSCALL_FUTEX = futexNumber()

function loadLibrary(): LibraryHandle {
  try {
    return koffi.load(null)
  } catch (cause) {
    throw new HyphaError('HYPHA_UNSUPPORTED', 'Cannot reach the C library of this process', { cause })
  }
}

const library = loadLibrary()

function declare<Signature>(definition: string): Signature {
  try {
    return library.func(definition) as unknown as Signature
  } catch (cause) {
    throw new HyphaError('HYPHA_UNSUPPORTED', `The C library lacks what HyphaDB needs: ${definition}`, { cause })
  }
}

export const PROT_READ = 1
export const PROT_WRITE = 2
export const MAP_SHARED = 0x01
export const MAP_PRIVATE = 0x02
export const MAP_FIXED = 0x10
export const MAP_ANONYMOUS = 0x20
export const MAP_NORESERVE = 0x4000
/** What mmap returns when it fails. */
export const MAP_FAILED = -1

export const FALLOC_KEEP_SIZE_AND_PUNCH_HOLE = 0x03

export const F_OFD_GETLK = 36
export const F_OFD_SETLK = 37

export const O_CLOEXEC = 0o2000000

export const mmap = declare<
  (address: Address, length: number, protection: number, flags: number, fd: number, offset: number) => Address
>('intptr_t mmap(intptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)')

/** Returns the error number itself; errno is not set. */
export const posixFallocate = declare<(fd: number, offset: number, length: number) => number>(
  'int posix_fallocate(int fd, int64_t offset, int64_t length)',
)

export const fallocate = declare<(fd: number, mode: number, offset: number, length: number) => number>(
  'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
)

export const mkfifo = declare<(path: string, mode: number) => number>('int mkfifo(const char *path, uint32_t mode)')

const variadicOpen = declare<(path: string, flags: number, ...mode: unknown[]) => number>(
  'int open(const char *path, int flags, ...)',
)

/**
 * open(2) without Node's bookkeeping: a descriptor from node:fs is closed when its worker ends, although a socket that
 * took it over has closed it before and another thread has the number by then.
 */
export function openUntracked(path: string, flags: number): number {
  return variadicOpen(path, flags | O_CLOEXEC)
}

const variadicFcntl = declare<(fd: number, command: number, type: string, lock: Uint8Array) => number>(
  'int fcntl(int fd, int command, ...)',
)

/** fcntl with a `struct flock`. */
export function fcntlLock(fd: number, command: number, lock: Uint8Array): number {
  return variadicFcntl(fd, command, 'void *', lock)
}

/** Declared with the arity of futex: the variadic form costs more, and the registers are the same. */
const syscall = declare<
  (
    number: number,
    address: Address,
    operation: number,
    value: number,
    timeout: Uint8Array | null,
    second: number,
    third: number,
  ) => number
>('long syscall(long number, intptr_t address, int operation, int value, void *timeout, intptr_t second, int third)')

/** Operations without FUTEX_PRIVATE_FLAG: waiters are in other processes. */
export const FUTEX_WAIT = 0
export const FUTEX_WAKE = 1

export function futex(address: Address, operation: number, value: number, timeout: Uint8Array | null): number {
  return syscall(SYSCALL_FUTEX, address, operation, value, timeout, 0, 0)
}

/** errno of the last failed call in this thread. Meaningless after a success, and after anything asynchronous. */
export function lastErrno(): number {
  return koffi.errno()
}

/** An ArrayBuffer over mapped memory. Never freed with it; costs a garbage collection: make it once per mapping. */
export function viewOf(address: Address, length: number): ArrayBuffer {
  return koffi.view(address, length)
}
