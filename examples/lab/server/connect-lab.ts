import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createDataAccess, type DataAccess } from '@innovateai/data-access'
import { assessment } from '@innovateai/data-access/assessment'
import { memoryCache } from '@innovateai/data-access/cache'
import { redisCache } from '@innovateai/data-access/cache/redis'
import { redisWake } from '@innovateai/data-access/outbox/redis-wake'
import { raceModule } from '../chapters/stale-race.ts'
import type { Wiring } from '../contract/live.ts'
import type { LabOptions } from './lab-options.ts'

/** Everything of the lab on PostgreSQL is in this schema; nothing outside of it is read or written. */
export const labSchema = 'data_access_lab'

/** The data access of the lab, and what to say about it. */
export interface LabConnection {
  readonly data: DataAccess
  readonly redisUrl: string | undefined
  /** Begins the keys and channels of this lab in Redis: labs on one database share them, others do not. */
  readonly redisPrefix: string
  readonly database: Wiring
  readonly cache: Wiring
  readonly keepsRows: boolean
}

/** Opens the lab's data access, brings its tables up to date, and keeps to what belongs to the lab. */
export async function connectLab({ databaseUrl, redisUrl, folder }: LabOptions): Promise<LabConnection> {
  const redisPrefix = `data-access-lab:${databaseUrl ? fingerprint(databaseUrl) : randomUUID()}:`
  // #region connect
  const data = await createDataAccess({
    modules: [assessment, raceModule],
    database: databaseUrl
      ? { url: databaseUrl, pool: { max: 10 }, driverOptions: { options: `-c search_path=${labSchema}` } }
      : { url: folder ? sqliteIn(folder) : ':memory:' },
    // A service keeps the default of 50 ms; a lab on a busy machine would rather wait than read past the cache.
    cache: redisUrl ? redisCache({ url: redisUrl, prefix: redisPrefix, timeoutMs: 1000 }) : memoryCache({ singleProcess: true }),
    ...(redisUrl ? { wake: redisWake({ url: redisUrl, channel: `${redisPrefix}wake` }) } : {}),
  })
  // #endregion
  try {
    if (data.dialect === 'postgresql') await data.fork().getConnection().execute(`create schema if not exists ${labSchema}`)
    await data.migrate()
  } catch (error) {
    await data.close()
    throw error
  }
  return {
    data,
    redisUrl,
    redisPrefix,
    database: databaseWiring(databaseUrl, folder),
    cache: redisUrl
      ? { name: `Redis at ${new URL(redisUrl).host}`, why: 'REDIS_URL is set' }
      : { name: 'In this process', why: 'REDIS_URL is not set, and the lab is the only process on its tables' },
    keepsRows: databaseUrl !== undefined || folder !== undefined,
  }
}

function databaseWiring(databaseUrl: string | undefined, folder: string | undefined): Wiring {
  if (databaseUrl) {
    const { host, pathname } = new URL(databaseUrl)
    return { name: `PostgreSQL at ${host}${pathname}`, why: `DATABASE_URL is set; the lab keeps to its schema ${labSchema}` }
  }
  const why = 'DATABASE_URL is not set'
  return folder
    ? { name: `SQLite in ${join(folder, 'lab.db')}`, why: `${why}, and --folder is given` }
    : { name: 'SQLite in memory', why }
}

function sqliteIn(folder: string): string {
  mkdirSync(folder, { recursive: true })
  return `sqlite:${join(folder, 'lab.db')}`
}

function fingerprint(databaseUrl: string): string {
  const { host, pathname } = new URL(databaseUrl)
  return createHash('sha256').update(`${host}${pathname}`).digest('hex').slice(0, 12)
}
