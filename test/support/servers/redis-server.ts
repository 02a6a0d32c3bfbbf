import { createRequire } from 'node:module'
import { join } from 'node:path'
import { aptInstall, canAptInstall } from './apt-install.ts'
import { findPrograms } from './find-program.ts'
import type { ServerHome } from './server-home.ts'
import { freePort, runServer, runToEnd } from './server-process.ts'
import { firstWay, type Started } from './ways.ts'

const places = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/home/linuxbrew/.linuxbrew/bin', '/usr/local/redis*/bin']

/** Kept here and not in package.json: it compiles Redis when it is installed, which nobody with a Redis should wait for. */
const builder = 'redis-memory-server@0.17.1'

/**
 * Starts a private Redis (or Valkey): with the system's program; else, as root on Debian or Ubuntu, with what apt-get
 * installs; else with what the npm package `redis-memory-server` builds, which needs a compiler and some minutes.
 */
export function startRedis(home: ServerHome, print: (line: string) => void): Promise<Started> {
  return firstWay('Redis', 'install Redis (its program redis-server), or a C compiler and make, or set REDIS_URL', print, {
    system: () => withProgram(systemProgram(), home),
    apt: async () => {
      if (!canAptInstall()) return undefined
      await aptInstall(['redis-server'], print)
      return withProgram(systemProgram(), home)
    },
    npm: async () => withProgram(await builtProgram(home, print), home),
  })
}

function systemProgram(): string | undefined {
  for (const name of ['redis-server', 'valkey-server']) {
    const folder = findPrograms([name], places)
    if (folder) return join(folder, name)
  }
  return undefined
}

async function withProgram(program: string | undefined, home: ServerHome) {
  if (program === undefined) return undefined
  const data = home.folder('redis')
  const port = await freePort()
  const settings = { port, bind: '127.0.0.1', dir: data, save: '', appendonly: 'no', daemonize: 'no', loglevel: 'notice' }
  const server = await runServer({
    program,
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    cwd: data,
    readyWhen: 'eady to accept connections',
    stopSignal: 'SIGTERM',
  })
  return { url: `redis://127.0.0.1:${port}`, stop: server.stop, from: program }
}

async function builtProgram(home: ServerHome, print: (line: string) => void): Promise<string | undefined> {
  if (!findPrograms(['make'], ['/usr/bin']) || !findPrograms(['cc'], ['/usr/bin'])) return undefined
  print(`building Redis by the npm package ${builder}, which takes some minutes …`)
  const folder = home.folder('redis-build')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  // Without its install script: that would build too, but hide why it failed.
  await runToEnd({ program: npm, args: ['install', '--no-save', '--ignore-scripts', '--prefix', folder, builder], cwd: folder })
  const module = join(folder, 'node_modules/redis-memory-server/lib/util/RedisBinary.js')
  const { default: RedisBinary } = createRequire(module)(module)
  return RedisBinary.getPath({ downloadDir: join(folder, 'binaries') })
}
