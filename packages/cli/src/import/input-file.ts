/** The bytes of a file, or of stdin for `-`. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { CodedFailure, fileFailure } from '../failure.js'

const READ_BYTES = 256 * 1024

export interface Input {
  readonly chunks: AsyncIterable<Buffer>
  /** 0 when unknown. */
  readonly totalBytes: number
}

export async function openInput(file: string): Promise<Input> {
  if (file === '-') return { chunks: process.stdin, totalBytes: 0 }
  const status = await stat(file).catch((error: unknown) => {
    throw fileFailure(error, file, 'read')
  })
  if (status.isDirectory())
    throw new CodedFailure('HYPHA_INVALID', `${file} is a directory; name a file, or - for stdin`)
  return { chunks: readChunks(file), totalBytes: status.isFile() ? status.size : 0 }
}

async function* readChunks(file: string): AsyncGenerator<Buffer, void, void> {
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) yield chunk as Buffer
  } catch (error) {
    throw fileFailure(error, file, 'read')
  }
}
