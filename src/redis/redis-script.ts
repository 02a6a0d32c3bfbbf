import { createHash } from 'node:crypto'
import type { RedisClient } from './redis-client.ts'

/** A Lua script, sent by its digest. All keys of one run must lie in one hash slot of a cluster. */
export class RedisScript {
  readonly #text: string
  readonly #sha: string
  /** Those over which it went before. */
  readonly #sent = new WeakSet<RedisClient>()

  constructor(text: string) {
    this.#text = text
    this.#sha = createHash('sha1').update(text).digest('hex')
  }

  /**
   * Runs the script. The first run over a connection sends the text, so that what is sent right after it is not answered before it; later ones
   * do only where Redis does not have it any more, as after a restart.
   */
  async run(client: RedisClient, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const known = this.#sent.has(client)
    this.#sent.add(client)
    if (!known) return client.eval(this.#text, keys.length, ...keys, ...args)
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return client.eval(this.#text, keys.length, ...keys, ...args)
    }
  }
}
