/** Inserts documents with the same unique values as other processes do, in the same order, and counts what it won. */
import { isHyphaError, open } from 'hyphadb'
import { argument, listen, report, runPeer } from '../model/processes.js'

export interface UniqueWork {
  directory: string
  process: number
  values: number
}

export const CLAIMS = 'claims'
export const claimsOptions = { indexes: { byName: { on: ['name'], unique: true }, byOwner: { on: ['owner'] } } }

async function main(): Promise<void> {
  const { directory, process, values } = argument<UniqueWork>()
  const next = listen<'go'>()
  const db = await open(directory)
  const claims = db.collection(CLAIMS, claimsOptions)
  await report('open')
  await next()
  const won: number[] = []
  for (let value = 0; value < values; value++) {
    const id = `${process}-${value}`
    try {
      // By a new document, or by changing one that had another value.
      if (value % 3 === 0) {
        await claims.insert({ id, name: `spare ${id}`, owner: process }, { durability: 'none' })
        await claims.update(id, { name: `name ${value}` }, { durability: 'none' })
      } else if (value % 3 === 1)
        await claims.insert({ id, name: `name ${value}`, owner: process }, { durability: 'none' })
      else {
        await db.transaction(
          tx => {
            tx.collection(CLAIMS).insert({ id, name: `name ${value}`, owner: process })
          },
          { isolation: 'snapshot', durability: 'none' },
        )
      }
      won.push(value)
    } catch (error) {
      if (!isHyphaError(error, 'HYPHA_DUPLICATE')) throw error
    }
  }
  await report(won)
  await db.close()
}

if (process.argv[2] !== undefined && process.send !== undefined) runPeer(main)
