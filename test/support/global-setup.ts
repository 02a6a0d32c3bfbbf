import type { TestProject } from 'vitest/node'
import { startServers, type TestServers } from './servers/start-servers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A PostgreSQL that may create and drop databases; tests take their own by `openTestDatabase('postgresql')`. */
    databaseUrl: string
    /** A Redis that tests share; they keep apart by the prefix of `openTestRedis()`. */
    redisUrl: string
    /** A folder for files of this run, removed at its end however it ends. */
    runFolder: string
  }
}

// Vitest runs this once for each project, each time as a new module: what all projects share stands on the process.
interface Shared {
  users: number
  servers: Promise<TestServers>
}
const place = Symbol.for('data-access.test-servers')
const processWide = globalThis as { [place]?: Shared }

/** Finds or starts the servers once for all projects that need them, and tells the tests where they are. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = processWide[place] ?? { users: 0, servers: startServers() }
  processWide[place] = shared
  shared.users += 1
  const servers = await shared.servers
  project.provide('databaseUrl', servers.databaseUrl)
  project.provide('redisUrl', servers.redisUrl)
  project.provide('runFolder', servers.folder)
  return async () => {
    shared.users -= 1
    if (shared.users > 0) return
    delete processWide[place]
    await servers.stop()
  }
}
