import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { repository } from '../programs.ts'

/** A lab in a process of its own, as `npm run lab` starts it. */
export interface RunningLab {
  readonly url: string
  /** Ends it as ctrl-C does, and waits until it has ended. */
  stop(): Promise<void>
}

/** Starts the lab and waits until it listens. */
export async function startLab(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RunningLab> {
  const { DATABASE_URL: _database, REDIS_URL: _redis, ...inherited } = process.env
  const child = spawn(process.execPath, ['examples/lab/main.ts', '--json', ...args], {
    cwd: repository,
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let complaints = ''
  child.stderr.on('data', (chunk) => (complaints += chunk))
  const url = await firstLine(child, () => complaints)
  return { url, stop: () => stop(child) }
}

async function firstLine(child: ChildProcess, complaints: () => string): Promise<string> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the lab ended with ${code}: ${complaints()}`)
  })
  const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
  ended.catch(() => {})
  return (JSON.parse(line) as { url: string }).url
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}
