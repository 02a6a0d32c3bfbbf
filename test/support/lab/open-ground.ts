import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { inject } from 'vitest'
import { openTestDatabase } from '../databases.ts'
import { type RunningLab, startLab } from './start-lab.ts'

/** What every story of the lab is told on. */
export const grounds = ['embedded defaults', 'PostgreSQL and Redis'] as const

/** A running lab, and a way to its rows that goes past it. */
export interface LabGround {
  readonly lab: RunningLab
  /** The first value that a query gives, of the lab's own tables. */
  read(sql: string): Promise<unknown>
  close(): Promise<void>
}

export function openGround(ground: (typeof grounds)[number]): Promise<LabGround> {
  return ground === 'embedded defaults' ? openEmbedded() : openServers()
}

async function openEmbedded(): Promise<LabGround> {
  const folder = mkdtempSync(join(inject('runFolder'), 'lab-'))
  const lab = await startLab(['--port', '0', '--folder', folder])
  const database = new DatabaseSync(join(folder, 'lab.db'), { readOnly: true })
  return {
    lab,
    read: async (sql) => Object.values(database.prepare(sql).get() ?? {})[0],
    close: async () => {
      await lab.stop()
      database.close()
    },
  }
}

async function openServers(): Promise<LabGround> {
  const database = await openTestDatabase('postgresql')
  const lab = await startLab(['--port', '0'], { DATABASE_URL: database.url, REDIS_URL: inject('redisUrl') })
  const client = new pg.Client({ connectionString: database.url, options: '-c search_path=data_access_lab' })
  await client.connect()
  return {
    lab,
    read: async (sql) => Object.values((await client.query(sql)).rows[0] ?? {})[0],
    close: async () => {
      await lab.stop()
      await client.end()
      await database.close()
    },
  }
}
