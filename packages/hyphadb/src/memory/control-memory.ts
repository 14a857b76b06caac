/** Views of the control segment: the fixed-size part of a region. All of them show the same bytes. */
export class ControlMemory {
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly f64: Float64Array
  readonly buffer: Buffer
  /** Address of byte 0 in this process: what a futex call needs. */
  readonly address: number

  constructor(bytes: ArrayBuffer, address: number) {
    this.u8 = new Uint8Array(bytes)
    this.i32 = new Int32Array(bytes)
    this.f64 = new Float64Array(bytes)
    this.buffer = Buffer.from(bytes)
    this.address = address
  }
}
