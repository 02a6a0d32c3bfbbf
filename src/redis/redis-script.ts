import { createHash } from 'node:crypto'
import type { RedisClient } from './redis-client.ts'

/** A Lua script, sent by its digest. All keys of one run must lie in one hash slot of a cluster. */
export class RedisScript {
  readonly #text: string
  readonly #sha: string

  constructor(text: string) {
    this.#text = text
    this.#sha = createHash('sha1').update(text).digest('hex')
  }

  /** Runs the script; sends the text only when Redis does not have it yet, as after a restart. */
  async run(client: RedisClient, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return client.eval(this.#text, keys.length, ...keys, ...args)
    }
  }
}
