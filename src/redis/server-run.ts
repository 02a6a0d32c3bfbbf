import type { Redis } from 'ioredis'
import type { RedisClient } from './redis-client.ts'
import { isRedisReply, tellsServerState } from './redis-reply.ts'

/** Enough of its 40 digits to tell a few runs apart. */
const digits = 12

/** By connection: the next one may lead to another server, or to one that has started anew. */
const known = new WeakMap<object, string>()
const asked = new WeakMap<object, Promise<string>>()

/**
 * Names the run of the server that a client is connected to: another one after a restart, and when another server has taken its place. Ask
 * when a command was answered, to learn whose answer it is; ask before it too, and the wait for this one is over by then. Where it changes in
 * between the later run is told.
 *
 * Empty for a cluster, of whose nodes each has its own, and where the server does not tell it.
 */
export function serverRun(client: RedisClient): string | Promise<string> {
  if ('nodes' in client) return ''
  // Not there in what only resembles a client.
  const connection: object = client.stream ?? client
  return known.get(connection) ?? asked.get(connection) ?? ask(client, connection)
}

function ask(client: Redis, connection: object): Promise<string> {
  const answer = client.info('server').then(runIn, refused)
  asked.set(connection, answer)
  answer.then(
    (run) => known.set(connection, run),
    () => asked.delete(connection),
  )
  return answer
}

function runIn(info: string): string {
  return /^run_id:(\w+)/m.exec(info)?.[1]?.slice(0, digits) ?? ''
}

/** A user without the right to ask, or a service that knows no such question: its cache works without the answer. */
function refused(error: unknown): string {
  if (isRedisReply(error) && !tellsServerState(error.message)) return ''
  throw error
}
