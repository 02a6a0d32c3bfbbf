import { chownSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { aptInstall, canAptInstall } from './apt-install.ts'
import { findPrograms } from './find-program.ts'
import { type RestartableServer, restartable } from './restartable-servers.ts'
import { ServerHome, unprivilegedAccount } from './server-home.ts'
import { freePort } from './server-process.ts'

/** Finds PgBouncer, and as root on Debian or Ubuntu installs it where it is missing; answers whether there is one now. */
export async function havePgBouncer(): Promise<boolean> {
  if (installed() === undefined && canAptInstall()) await aptInstall(['pgbouncer'], (line) => console.log(`PgBouncer: ${line}`))
  return installed() !== undefined
}

function installed(): string | undefined {
  return findPrograms(['pgbouncer'], ['/usr/sbin', '/usr/bin', '/opt/homebrew/bin', '/usr/local/bin'])
}

/**
 * Starts a private PgBouncer in transaction mode before a database: fewer connections to the server than clients have, so that
 * transactions of many change places on them.
 */
export async function openPgBouncer(databaseUrl: string, serverConnections: number): Promise<RestartableServer> {
  const folder = installed()
  if (folder === undefined) throw new Error('PgBouncer was not found: install it, as by apt-get install pgbouncer')
  const home = new ServerHome()
  const account = unprivilegedAccount()
  const data = home.folder('pgbouncer', account)
  const [url, port] = [new URL(databaseUrl), await freePort()]
  const [config, pidfile] = [join(data, 'pgbouncer.ini'), join(data, 'pgbouncer.pid')]
  const password = url.password === '' ? '' : ` password=${decodeURIComponent(url.password)}`
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: 'transaction',
    default_pool_size: serverConnections,
    max_client_conn: 200,
    pidfile,
  }
  writeFileSync(
    config,
    [
      '[databases]',
      `* = host=${url.hostname} port=${url.port || 5432} user=${decodeURIComponent(url.username)}${password}`,
      '[pgbouncer]',
      ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
      '',
    ].join('\n'),
  )
  if (account) chownSync(config, account.uid, account.gid)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return restartable(home, url.href, {
    command: {
      program: join(folder, 'pgbouncer'),
      args: [config],
      cwd: data,
      account,
      readyWhen: 'process up',
      stopSignal: 'SIGTERM',
    },
    crashSignal: 'SIGKILL',
    pid: () => Number(readFileSync(pidfile, 'utf8')),
  })
}
