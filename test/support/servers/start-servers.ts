import { fork } from 'node:child_process'
import { join } from 'node:path'
import { checkPostgresql, checkRedis } from './check-server.ts'
import type { KeeperMessage, KeeperRequest } from './keeper.ts'

/** The real servers that tests, examples and benches run against. */
export interface TestServers {
  /** URL of a database that may create and drop databases. */
  readonly databaseUrl: string
  readonly redisUrl: string
  /** An empty folder for files of this run: it goes when the servers go. */
  readonly folder: string
  /** Ends what was started here, and removes its folders. Servers given by URL are left alone. */
  stop(): Promise<void>
}

/**
 * Finds or starts a real PostgreSQL and a real Redis, and says on `print` which way each one took.
 *
 * `DATABASE_URL` and `REDIS_URL` win. Otherwise both are started as private instances, on free ports of 127.0.0.1 and in
 * their own temporary folders: see `postgresql-server.ts` and `redis-server.ts` for the ways, in order. A keeper process owns
 * them and ends them when this process ends, however it ends: stop(), exit, crash, ctrl-C or SIGKILL.
 *
 * Outside vitest: `const servers = await startServers()`, and `await servers.stop()` at the end.
 */
export async function startServers(print: (line: string) => void = printLine): Promise<TestServers> {
  const given = { databaseUrl: process.env.DATABASE_URL || undefined, redisUrl: process.env.REDIS_URL || undefined }
  const missing: KeeperRequest = { postgresql: given.databaseUrl === undefined, redis: given.redisUrl === undefined }
  if (given.databaseUrl) print(`PostgreSQL: by DATABASE_URL, ${await checkPostgresql(given.databaseUrl)}`)
  if (given.redisUrl) print(`Redis: by REDIS_URL, ${await checkRedis(given.redisUrl)}`)

  const keeper = await startKeeper(missing, print)
  const databaseUrl = given.databaseUrl ?? keeper.databaseUrl
  const redisUrl = given.redisUrl ?? keeper.redisUrl
  if (databaseUrl === undefined || redisUrl === undefined) throw new Error('the keeper of the test servers gave no URL')
  return { databaseUrl, redisUrl, folder: keeper.folder, stop: keeper.stop }
}

interface Keeper {
  readonly databaseUrl: string | undefined
  readonly redisUrl: string | undefined
  readonly folder: string
  stop(): Promise<void>
}

function startKeeper(request: KeeperRequest, print: (line: string) => void): Promise<Keeper> {
  // Detached, so that ctrl-C in the terminal reaches this process and not the servers: they end after their clients.
  const child = fork(join(import.meta.dirname, 'keeper.ts'), [JSON.stringify(request)], {
    detached: true,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = async () => {
    child.ref() // awaited again: without this the process could end before the servers did
    if (child.connected) child.disconnect()
    await gone
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the keeper of the test servers ended early (exit code ${code})`)))
    child.on('message', (message: KeeperMessage) => {
      if (message.kind === 'line') return print(message.line)
      if (message.kind === 'failed') return reject(new Error(message.message))
      // From here on the keeper must not hold this process open: it notices by itself when we are gone.
      child.unref()
      child.channel?.unref()
      resolve({ databaseUrl: message.databaseUrl, redisUrl: message.redisUrl, folder: message.folder, stop })
    })
  })
}

function printLine(line: string): void {
  process.stderr.write(`${line}\n`)
}
