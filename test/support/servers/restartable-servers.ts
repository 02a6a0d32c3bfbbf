import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { startPostgresql } from './postgresql-server.ts'
import { startRedis } from './redis-server.ts'
import { ServerHome, unprivilegedAccount } from './server-home.ts'
import { runServer, type ServerCommand } from './server-process.ts'

/** A private server of one test file that can be stopped, crashed and started again on the same port and data. */
export interface RestartableServer {
  readonly url: string
  start(): Promise<void>
  /** Ends it in order; open connections are cut. */
  stop(): Promise<void>
  /** Ends it at once, without writing anything down. */
  crash(): Promise<void>
  /** Lets it stand still, connections open: SIGSTOP. */
  freeze(): void
  thaw(): void
  /** Ends it and removes its data. May be called in every state. */
  close(): Promise<void>
}

/** Starts a private PostgreSQL that keeps what it has committed when it crashes, unless told not to wait for the disk. */
export async function openPostgresqlServer(): Promise<RestartableServer> {
  const home = new ServerHome()
  const made = await startPostgresql(home, () => {})
  await made.stop()
  const data = join(home.path, 'postgresql')
  const settings = { listen_addresses: '127.0.0.1', port: portOf(made.url), unix_socket_directories: '', timezone: 'UTC' }
  return restartable(home, made.url, {
    command: {
      program: join(made.from, 'postgres'),
      args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      cwd: data,
      account: unprivilegedAccount(),
      readyWhen: 'ready to accept connections',
      stopSignal: 'SIGINT',
    },
    crashSignal: 'SIGQUIT', // "immediate": it recovers from its log at the next start
    pid: () => Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]),
  })
}

/** Starts a private Redis that writes each change to the disk, unless other settings say that it forgets. */
export async function openRedisServer(others: Readonly<Record<string, string | number>> = {}): Promise<RestartableServer> {
  const home = new ServerHome()
  const made = await startRedis(home, () => {})
  await made.stop()
  const data = join(home.path, 'redis')
  const pidfile = join(data, 'redis.pid')
  const settings = {
    port: portOf(made.url),
    bind: '127.0.0.1',
    dir: data,
    save: '',
    appendonly: 'yes',
    appendfsync: 'always',
    pidfile,
    ...others,
  }
  return restartable(home, `redis://127.0.0.1:${settings.port}`, {
    command: {
      program: made.from,
      args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
      cwd: dirname(pidfile),
      readyWhen: 'eady to accept connections',
      stopSignal: 'SIGTERM',
    },
    crashSignal: 'SIGKILL',
    pid: () => Number(readFileSync(pidfile, 'utf8')),
  })
}

interface Way {
  readonly command: ServerCommand
  readonly crashSignal: NodeJS.Signals
  readonly pid: () => number
}

/** Starts a server of a way, and gives what can be done to it. */
export async function restartable(home: ServerHome, url: string, { command, crashSignal, pid }: Way): Promise<RestartableServer> {
  let running: { stop(): Promise<void> } | undefined
  const signal = (name: NodeJS.Signals) => void process.kill(pid(), name)
  const start = async () => {
    running = await runServer(command)
  }
  const stop = async () => {
    await running?.stop()
    running = undefined
  }
  await start()
  return {
    url,
    start,
    stop,
    crash: async () => {
      signal(crashSignal)
      await stop()
    },
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    close: async () => {
      if (running !== undefined) signal('SIGCONT')
      await stop()
      home.remove()
    },
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port)
}
