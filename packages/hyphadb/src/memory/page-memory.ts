/** Views of one stretch of memory that holds pages. The same view types everywhere, so that hot code stays monomorphic. */
export class PageMemory {
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly u16: Uint16Array
  readonly f64: Float64Array
  /** The same bytes as a Buffer: compare, latin1Slice, copy. */
  readonly buffer: Buffer

  constructor(bytes: ArrayBuffer) {
    this.u8 = new Uint8Array(bytes)
    this.i32 = new Int32Array(bytes)
    this.u16 = new Uint16Array(bytes)
    this.f64 = new Float64Array(bytes)
    this.buffer = Buffer.from(bytes)
  }
}
