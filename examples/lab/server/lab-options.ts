import { parseArgs } from 'node:util'
import { UsageError } from './usage-error.ts'

/** How the lab is started. */
export interface LabOptions {
  /** 0 takes any free port. */
  readonly port: number
  /** Keeps SQLite's file here; without it the rows live in memory. */
  readonly folder: string | undefined
  readonly databaseUrl: string | undefined
  readonly redisUrl: string | undefined
  readonly json: boolean
}

export const defaultPort = 5270

export const help = `The lab: the five chapters of @innovateai/data-access, alive in a browser.

  npm run lab                          on SQLite in memory and a cache in this process
  npm run lab -- --port 5300           on another port; 0 takes any that is free (default ${defaultPort})
  npm run lab -- --folder lab-data     keeps the rows of SQLite in this folder
  npm run lab -- --json                prints one line of JSON once it listens
  npm run lab -- --help                this text

  DATABASE_URL=postgres://user:password@host:5432/name   uses PostgreSQL, in a schema of its own: data_access_lab
  REDIS_URL=redis://host:6379                            uses Redis for the cache, the wake and the events

It listens on 127.0.0.1 alone, and ends with ctrl-C.`

/**
 * Reads command line and environment.
 *
 * @throws UsageError with one clear sentence for what it cannot use.
 */
export function readOptions(args: readonly string[], env: NodeJS.ProcessEnv): LabOptions | 'help' {
  const values = parse(args)
  if (values.help) return 'help'
  const databaseUrl = env.DATABASE_URL || undefined
  if (databaseUrl !== undefined && !/^postgres(ql)?:/.test(databaseUrl)) {
    throw new UsageError(
      'DATABASE_URL is no URL of PostgreSQL, and the lab leaves your files alone: give postgres://…, or unset it and use --folder',
    )
  }
  if (databaseUrl !== undefined && values.folder !== undefined) {
    throw new UsageError('--folder is for SQLite, and DATABASE_URL names PostgreSQL: leave one of them out')
  }
  return {
    port: toPort(values.port),
    folder: values.folder,
    databaseUrl,
    redisUrl: env.REDIS_URL || undefined,
    json: values.json,
  }
}

function parse(args: readonly string[]) {
  const options = {
    help: { type: 'boolean', short: 'h', default: false },
    json: { type: 'boolean', default: false },
    port: { type: 'string', default: String(defaultPort) },
    folder: { type: 'string' },
  } as const
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; see npm run lab -- --help`, { cause: error })
  }
}

function toPort(text: string): number {
  const port = Number(text)
  if (/^\d+$/.test(text) && port <= 65_535) return port
  throw new UsageError(`--port is ${text}; give a number from 0 to 65535`)
}
