import { createDataAccess } from '@innovateai/data-access'
import { assessment, User } from '@innovateai/data-access/assessment'
import { v7 as uuidv7 } from 'uuid'

/** What every contestant of the unit bench gets: contestant, database, units, concurrency. */
export const [contestant = 'ours', databaseUrl = '', units = '1000', concurrency = '1'] = process.argv.slice(2)

/** A new id, for peers too, which have no `uuid` of this version. */
export const newId = () => uuidv7()

/** Makes the tables and the user of the scores; resolves to the user's id. */
export async function makeUser(): Promise<string> {
  const data = await createDataAccess({ modules: [assessment], database: { url: databaseUrl } })
  await data.migrate()
  const id = await data.unitOfWork(async ({ em }) => em.create(User, { email: `${uuidv7()}@example.com`, name: 'Bench' }).id)
  await data.close()
  return id
}

/** Runs the units, after some to warm up, and returns the figures. */
export async function timeUnits(run: () => Promise<unknown>): Promise<Record<string, number>> {
  const count = Number(units)
  const repeat = async (times: number) => {
    let left = times
    const work = async () => {
      while (left-- > 0) await run()
    }
    await Promise.all(Array.from({ length: Number(concurrency) }, work))
  }
  await repeat(Math.max(2000, count / 4))
  const cpu = process.cpuUsage()
  const started = performance.now()
  await repeat(count)
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  return { perSecond: (count / ms) * 1000, cpuMsPerOperation: (user + system) / 1000 / count }
}
