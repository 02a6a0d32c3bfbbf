import { Redis } from 'ioredis'
import pg from 'pg'

const connectLimitMs = 5_000

/** Connects to the PostgreSQL that was given by URL, and gives its place and version, without the password. */
export async function checkPostgresql(url: string): Promise<string> {
  try {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectLimitMs })
    await client.connect()
    const { rows } = await client.query<{ server_version: string }>('show server_version')
    await client.end()
    return `${masked(url)}, version ${rows[0]?.server_version}`
  } catch (error) {
    throw unreachable('DATABASE_URL', url, error)
  }
}

/** Connects to the Redis that was given by URL, and gives its place and version, without the password. */
export async function checkRedis(url: string): Promise<string> {
  const client = new Redis(url, { lazyConnect: true, connectTimeout: connectLimitMs, retryStrategy: () => null })
  let reason: unknown
  client.on('error', (error) => (reason = error)) // says more than the rejection, which only says that it closed
  try {
    await client.connect()
    const version = /redis_version:(\S+)/.exec(await client.info('server'))?.[1]
    return `${masked(url)}, version ${version}`
  } catch (error) {
    throw unreachable('REDIS_URL', url, reason ?? error)
  } finally {
    client.disconnect()
  }
}

function unreachable(variable: string, url: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : cause
  return new Error(`${variable} leads to no server that answers: ${masked(url)} (${why}). Start it, or unset ${variable}.`, {
    cause,
  })
}

function masked(url: string): string {
  const parts = URL.parse(url)
  if (parts === null) return '(not a URL)'
  if (parts.password) parts.password = '***'
  return parts.href
}
