/**
 * Who takes part: one slot for each thread that has the database open. The kernel says who is alive: slot n holds an
 * open-file-description lock on byte n + 1 of the `attach` file for as long as its thread lives.
 *
 * Slot, 256 bytes (Int32 indexes within the slot):
 * | word | what |
 * |---|---|
 * | 0 | state: 0 free, 1 in use |
 * | 1 | incarnation: grows with each registration, never reset |
 * | 2 | process id, for people |
 * | 3 | kind: 0 application, 1 housekeeper |
 * | 4 | writes to files in flight (a generation switch waits for them) |
 * | 5 | number of blocks in flight |
 * | 6..7 | start time, float64 |
 * | 8 | asleep: a FIFO of this name waits for news |
 * | 10..11 | log position of the first fragment of a transaction that is being logged in fragments, float64; 0 none |
 * | 16..47 | blocks in flight: pairs of page id and block |
 *
 * Invariants
 * 1. A slot in use whose byte is not locked belongs to a dead thread. Whoever takes that byte repairs what it left, while
 *    holding the byte, and only then frees the slot.
 * 2. A latch word holds `token` = incarnation << 8 | slot + 1 (28 bits). A token whose incarnation is not the slot's is stale and
 *    cannot be in any latch: repair released it before the slot was freed.
 */
import { assert } from '../base/assert.js'
import { HyphaError } from '../base/errors.js'
import type { ByteLockFile } from '../os/byte-locks.js'
import type { ControlMemory } from './control-memory.js'
import { PARTICIPANT_BYTES, PARTICIPANTS_MAX, PARTICIPANTS_OFFSET } from './layout.js'

export const KIND_APPLICATION = 0
export const KIND_HOUSEKEEPER = 1

export const SLOT_STATE = 0
export const SLOT_INCARNATION = 1
export const SLOT_PID = 2
export const SLOT_KIND = 3
export const SLOT_WRITES = 4
export const SLOT_IN_FLIGHT = 5
export const SLOT_STARTED_F = 3
export const SLOT_ASLEEP = 8
export const SLOT_FRAGMENT_F = 5
export const SLOT_IN_FLIGHT_FIRST = 16
export const IN_FLIGHT_MAX = 16

const INCARNATION_MASK = 0xfffff

/** Int32 index of the first word of a slot. */
export function slotWord(slot: number): number {
  return (PARTICIPANTS_OFFSET + slot * PARTICIPANT_BYTES) >> 2
}

export function slotOfToken(token: number): number {
  return (token & 0xff) - 1
}

/** The byte of `attach` that a slot's thread keeps locked. Byte 0 is the lock of opening and closing. */
export function byteOfSlot(slot: number): number {
  return slot + 1
}

export class Participants {
  slot = -1
  token = 0

  constructor(
    readonly control: ControlMemory,
    readonly locks: ByteLockFile,
  ) {}

  /** Takes a free slot. The caller holds byte 0. Slots of the dead are reaped by `reap` on the way. */
  register(kind: number, reap: (slot: number) => void): void {
    const { i32, f64 } = this.control
    for (let slot = 0; slot < PARTICIPANTS_MAX; slot++) {
      const word = slotWord(slot)
      if (!this.locks.tryLock(byteOfSlot(slot))) continue
      if (Atomics.load(i32, word + SLOT_STATE) !== 0) {
        // Reaping ends by letting go of the byte: look at the same slot once more, and hold it this time.
        reap(slot)
        slot--
        continue
      }
      const incarnation = ((i32[word + SLOT_INCARNATION] as number) + 1) & INCARNATION_MASK
      i32[word + SLOT_INCARNATION] = incarnation
      i32[word + SLOT_PID] = process.pid
      i32[word + SLOT_KIND] = kind
      i32[word + SLOT_WRITES] = 0
      i32[word + SLOT_IN_FLIGHT] = 0
      i32[word + SLOT_ASLEEP] = 0
      f64[(word >> 1) + SLOT_STARTED_F] = Date.now()
      f64[(word >> 1) + SLOT_FRAGMENT_F] = 0
      this.slot = slot
      this.token = (incarnation << 8) | (slot + 1)
      Atomics.store(i32, word + SLOT_STATE, 1)
      return
    }
    throw new HyphaError(
      'HYPHA_BUSY',
      `All ${PARTICIPANTS_MAX} participant slots are in use. Open the database in fewer threads and processes`,
    )
  }

  /** The slot is empty again; its byte is released last. Everything it held must have been given back. */
  unregister(): void {
    assert(this.slot >= 0, 'only a registered participant leaves')
    Atomics.store(this.control.i32, slotWord(this.slot) + SLOT_STATE, 0)
    this.locks.unlock(byteOfSlot(this.slot))
    this.slot = -1
    this.token = 0
  }

  pidOf(token: number): number {
    const slot = slotOfToken(token)
    return slot < 0 || slot >= PARTICIPANTS_MAX ? 0 : (this.control.i32[slotWord(slot) + SLOT_PID] as number)
  }

  /**
   * Takes the byte of a slot whose thread is dead. True: the caller now holds it, must repair, and then calls
   * `released`. False: alive, or somebody else is at it.
   */
  claimDead(slot: number): boolean {
    if (slot === this.slot || slot < 0 || slot >= PARTICIPANTS_MAX) return false
    if (Atomics.load(this.control.i32, slotWord(slot) + SLOT_STATE) === 0) return false
    if (!this.locks.tryLock(byteOfSlot(slot))) return false
    if (Atomics.load(this.control.i32, slotWord(slot) + SLOT_STATE) === 0) {
      this.locks.unlock(byteOfSlot(slot))
      return false
    }
    return true
  }

  /** Ends what `claimDead` began: the slot is free. */
  released(slot: number): void {
    Atomics.store(this.control.i32, slotWord(slot) + SLOT_STATE, 0)
    this.locks.unlock(byteOfSlot(slot))
  }

  /** Gives up what `claimDead` or `register` began: the slot stays as it is, and anybody may try again. */
  letGo(slot: number): void {
    this.locks.unlock(byteOfSlot(slot))
  }

  /** Slots in use, ours included. */
  active(): number[] {
    const slots: number[] = []
    for (let slot = 0; slot < PARTICIPANTS_MAX; slot++) {
      if (Atomics.load(this.control.i32, slotWord(slot) + SLOT_STATE) !== 0) slots.push(slot)
    }
    return slots
  }

  tokenOfSlot(slot: number): number {
    return ((this.control.i32[slotWord(slot) + SLOT_INCARNATION] as number) << 8) | (slot + 1)
  }
}
