import { expect, onTestFinished, test } from 'vitest'
import { dialects } from '../../support/databases.ts'
import { openOutboxWithFile } from '../../support/published-file.ts'
import { findInversion, readDeliveries, startRelayProcess } from '../../support/relay-process.ts'
import { repeats } from '../../support/repeats.ts'

const keys = Array.from({ length: 100 }, (_, n) => `k${n}`)

test.each(dialects)(
  'a process that stands still in the middle of a wave, until another relay has published it, begins nothing more of it on %s',
  { timeout: 120_000, repeats },
  async (dialect) => {
    const { database, bench, file } = await openOutboxWithFile(dialect)
    const options = { url: database.url, file, leaseMs: 600, batchSize: 500, slowMs: 0 }
    const begin = async (freezeAt?: number) => {
      const child = await startRelayProcess({ ...options, ...(freezeAt === undefined ? {} : { freezeAt }) })
      onTestFinished(async () => {
        child.signal('SIGKILL')
        await child.ended
      })
      return child
    }
    const until = (condition: () => boolean | Promise<boolean>) =>
      expect.poll(condition, { interval: 20, timeout: 60_000 }).toBe(true)
    const frozen = await begin(40)
    await bench.data.unitOfWork(async () => {
      for (const key of keys) await bench.record(key, [0, 1, 2])
    })
    await until(() => readDeliveries(file).length >= 40)
    await begin()
    await until(async () => (await bench.rows()).every(({ status }) => status === 'published'))
    frozen.signal('SIGCONT')
    await until(() => frozen.messages.includes('lease lost'))
    await frozen.stop()
    const published = readDeliveries(file)
    expect(findInversion(published)).toBeUndefined()
    const ids = published.map(({ id }) => id)
    expect(new Set(ids).size).toBe(3 * keys.length)
    const ofFrozen = published.filter(({ pid }) => pid === frozen.pid)
    expect(published.slice(0, ofFrozen.length)).toEqual(ofFrozen)
    // Twice came what it had published and not marked, and nothing else.
    const repeated = ids.filter((id, place) => ids.indexOf(id) < place)
    expect(repeated.toSorted()).toEqual(ofFrozen.map(({ id }) => id).toSorted())
  },
)
