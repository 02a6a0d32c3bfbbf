import { setTimeout as delay } from 'node:timers/promises'
import { createDataAccess } from '../../src/data-access.ts'
import { Counted, Counter, counters, crossedKeys } from './counters-module.ts'

// Units of work on two to four keys each, recorded in any order: arguments are the database, writers and units per writer.
const [url = '', writers = '4', units = '20'] = process.argv.slice(2)
const data = await createDataAccess({ modules: [counters], database: { url, pool: { max: Number(writers) } } })
const { rows, rowless } = crossedKeys()

async function write(): Promise<void> {
  const counted = some(rows, Math.max(0, Math.floor(Math.random() * 4) - 1))
  const alone = some(rowless, 2)
  await data.unitOfWork(
    async ({ em, record }) => {
      const found = new Map<string, Counter>()
      for (const id of counted) found.set(id, await em.findOneOrFail(Counter, id))
      await delay(Math.random() * 4)
      for (const id of some([...counted, ...alone], 4)) record(Counted, id, found.get(id)?.count ?? null)
      // Row by row in the order of their ids, so that units wait for each other's rows and never in a circle.
      for (const id of counted.toSorted()) {
        ;(found.get(id) as Counter).count++
        await em.flush()
      }
    },
    { retry: { attempts: 200 } },
  )
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
  Array.from({ length: Number(writers) }, async () => {
    for (let index = 0; index < Number(units); index++) await write()
  }),
)
console.log(JSON.stringify((await data.stats()).units))
await data.close()
