import { startPostgresql } from './postgresql-server.ts'
import { startRedis } from './redis-server.ts'
import { ServerHome } from './server-home.ts'
import type { StartedServer } from './server-process.ts'

export interface KeeperRequest {
  readonly postgresql: boolean
  readonly redis: boolean
}

export type KeeperMessage =
  | { readonly kind: 'line'; readonly line: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'ready'; readonly databaseUrl?: string; readonly redisUrl?: string; readonly folder: string }

// This program is a process of its own, so that the servers end with whoever asked for them, even if that one is killed: the
// system closes the channel then, and 'disconnect' comes. The servers are children of this process, so their ids stay true.
const request: KeeperRequest = JSON.parse(process.argv[2] ?? '{}')
const home = new ServerHome()
const servers: StartedServer[] = []
let ending: Promise<void> | undefined

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(1))
process.on('disconnect', () => void end(0))

try {
  const print = (line: string) => tell({ kind: 'line', line })
  const [postgresql, redis] = await Promise.all([
    request.postgresql ? startPostgresql(home, print).then(keep) : undefined,
    request.redis ? startRedis(home, print).then(keep) : undefined,
  ])
  const folder = home.folder('files')
  tell({ kind: 'ready', folder, ...(postgresql && { databaseUrl: postgresql.url }), ...(redis && { redisUrl: redis.url }) })
} catch (error) {
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
  await end(1)
}

function keep(server: StartedServer): StartedServer {
  servers.push(server)
  return server
}

function tell(message: KeeperMessage): void {
  if (process.connected) process.send?.(message)
}

function end(code: number): Promise<void> {
  ending ??= Promise.allSettled(servers.map((server) => server.stop())).then(() => {
    home.remove()
    process.exit(code)
  })
  return ending
}
