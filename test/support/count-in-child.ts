import { setTimeout as delay } from 'node:timers/promises'
import type { EntityManager } from '@mikro-orm/core'
import { createDataAccess } from '../../src/data-access.ts'
import { Counted, Counter, counters, crossedKeys, lost } from './counters-module.ts'

// Units of work on up to five hot keys each, recorded in any order, with rows or without, in savepoints that are kept and others that are
// rolled back: arguments are the database, writers and units per writer.
const [url = '', writers = '4', units = '20'] = process.argv.slice(2)
const data = await createDataAccess({ modules: [counters], database: { url, pool: { max: Number(writers) } } })
const { rows, rowless } = crossedKeys()

async function write(writer: number): Promise<void> {
  const counted = some(rows, Math.max(0, Math.floor(Math.random() * 4) - 1))
  // Of the others only an event, also where there is a row.
  const alone = some(
    [...rows, ...rowless].filter((id) => !counted.includes(id)),
    2,
  )
  await data.unitOfWork(
    async ({ em, record }) => {
      const found = new Map<string, Counter>()
      for (const id of counted) found.set(id, await em.findOneOrFail(Counter, id))
      // Who begins first holds longest.
      await delay((Number(writers) - writer) * Math.random() * 2)
      for (const id of some([...counted, ...alone], 5)) {
        const count = found.get(id)?.count ?? null
        if (sometimes()) await data.unitOfWork(async (kept) => void kept.record(Counted, id, count))
        else record(Counted, id, count)
      }
      // Row by row in the order of their ids, so that units wait for each other's rows and never in a circle.
      for (const id of counted.toSorted()) {
        if (sometimes()) await rollBack(id)
        if (sometimes()) await data.unitOfWork((kept) => countUp(kept.em, id, 1))
        else await countUp(em, id, 1)
      }
    },
    { retry: { attempts: 200, maxMs: 100 } },
  )
}

async function countUp(em: EntityManager, id: string, by: number): Promise<void> {
  const counter = await em.findOneOrFail(Counter, id)
  counter.count += by
  await em.flush()
}

/** Counts in a savepoint of which nothing stays. */
async function rollBack(id: string): Promise<void> {
  const no = new Error('no')
  const savepoint = data.unitOfWork(async ({ em, record }) => {
    record(Counted, id, lost)
    await countUp(em, id, 100)
    throw no
  })
  await savepoint.catch((error: unknown) => {
    if (error !== no) throw error
  })
}

function sometimes(): boolean {
  return Math.random() < 0.3
}

/** Up to so many of them, in any order. */
function some(of: readonly string[], count: number): string[] {
  return of
    .map((item) => [Math.random(), item] as const)
    .sort(([one], [other]) => one - other)
    .slice(0, count)
    .map(([, item]) => item)
}

await Promise.all(
  Array.from({ length: Number(writers) }, async (_, writer) => {
    for (let index = 0; index < Number(units); index++) await write(writer)
  }),
)
console.log(JSON.stringify((await data.stats()).units))
await data.close()
