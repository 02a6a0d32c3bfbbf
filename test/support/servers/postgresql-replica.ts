import { execFileSync } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startPostgresql } from './postgresql-server.ts'
import { ServerHome, unprivilegedAccount } from './server-home.ts'
import { freePort, runServer } from './server-process.ts'

/** A private PostgreSQL with a streaming replica. */
export interface ReplicatedPostgresql {
  readonly primaryUrl: string
  readonly replicaUrl: string
  /** Ends both and removes their data. */
  close(): Promise<void>
}

/** Starts a primary and a replica of it, copied while it is stopped: so it needs no program but the server's own. */
export async function openReplicatedPostgresql(): Promise<ReplicatedPostgresql> {
  const home = new ServerHome()
  const running: { stop(): Promise<void> }[] = []
  const close = async () => {
    for (const server of running.reverse()) await server.stop()
    home.remove()
  }
  try {
    const made = await startPostgresql(home, () => {})
    await made.stop()
    const primary = { data: join(home.path, 'postgresql'), port: Number(new URL(made.url).port) }
    const replica = { data: join(home.path, 'replica'), port: await freePort() }
    execFileSync('cp', ['-Rp', primary.data, replica.data])
    writeFileSync(join(replica.data, 'standby.signal'), '')
    appendFileSync(
      join(replica.data, 'postgresql.auto.conf'),
      `primary_conninfo = 'host=127.0.0.1 port=${primary.port} user=postgres'\n`,
    )
    for (const { data, port } of [primary, replica]) {
      const settings = {
        listen_addresses: '127.0.0.1',
        port,
        unix_socket_directories: '',
        timezone: 'UTC',
        max_connections: 300,
        fsync: 'off',
      }
      running.push(
        await runServer({
          program: join(made.from, 'postgres'),
          args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
          cwd: data,
          account: unprivilegedAccount(),
          readyWhen: /replica$/.test(data) ? 'ready to accept read-only connections' : 'ready to accept connections',
          stopSignal: 'SIGINT',
        }),
      )
    }
    const urlOf = (port: number) => `postgres://postgres@127.0.0.1:${port}/postgres`
    return { primaryUrl: urlOf(primary.port), replicaUrl: urlOf(replica.port), close }
  } catch (error) {
    await close()
    throw error
  }
}
