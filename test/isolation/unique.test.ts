/** Four processes race for the same unique values: of each, exactly one wins. */
import { open } from 'hyphadb'
import { expect, it } from 'vitest'
import { inTemporaryDirectory, Peer } from '../model/processes.js'
import { CLAIMS, claimsOptions, type UniqueWork } from './unique-worker.js'

it('of those who race for a unique value exactly one wins, the others are told', async () => {
  const values = 150
  await inTemporaryDirectory(async directory => {
    const db = await open(directory, { memory: '8MB' })
    const claims = db.collection(CLAIMS, claimsOptions)
    const script = new URL('./unique-worker.js', import.meta.url).href
    const peers = [0, 1, 2, 3].map(process => {
      const work: UniqueWork = { directory, process, values }
      return new Peer(script, work)
    })
    for (const peer of peers) await peer.next()
    for (const peer of peers) peer.tell('go')
    const won = (await Promise.all(peers.map(peer => peer.next()))) as number[][]
    await Promise.all(peers.map(peer => peer.ended))
    expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: values }, (_, value) => value))
    won.forEach((list, process) => {
      for (const value of list)
        expect(claims.findOne({ name: `name ${value}` })).toMatchObject({ id: `${process}-${value}`, owner: process })
    })
    const named = claims
      .find()
      .toArray()
      .map(each => each['name'])
    expect(new Set(named).size).toBe(named.length)
    expect((await db.verify()).faults).toEqual([])
    await db.close()
  })
}, 120_000)
