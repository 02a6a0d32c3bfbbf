import { randomUUID } from 'node:crypto'
import { DataAccessError } from '../../errors.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'
import { text } from '../../kernel/options.ts'
import { inRootContext } from '../../kernel/root-context.ts'
import { loadIoredis } from '../../redis/redis-client.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import { checkRedisOptions, type RedisOptions } from '../../redis/redis-options.ts'
import { RedisSubscription } from '../../redis/redis-subscription.ts'
import type { WakeChannel, WakeChoice, WakeListener } from '../relay/wake.ts'

/** What {@link redisWake} takes. */
export interface RedisWakeOptions extends Omit<RedisOptions, 'timeoutMs'> {
  /** The channel of Redis, not empty; data accesses of one database need the same. Default `data-access:wake`. */
  readonly channel?: string | undefined
}

/** Messages of one process are so far apart on average, in ms: a burst of commits is one message, or a few. */
const debounceMs = 20

/** By so much a message may be early, in ms: else one that was late would hold back all that follow at this very pace. */
const toleranceMs = 4

/** How long a message may take until it is given up, in ms. Nobody waits for it. */
const timeoutMs = 500

/** How often a listener checks by a message to itself that messages get through, in ms. */
const heartbeatMs = 1000

/** After so many heartbeats without their echo it connects anew, and so on. */
const beatsToReconnect = 2

/**
 * Wakes the relays of other processes over Redis as soon as a commit has stored events: `createDataAccess({ wake: redisWake({ url
 * }) })` in the processes that write and in those that relay. The message is sent after the commit and nobody waits for it; while
 * Redis is away relays find events by polling, more often than usual.
 *
 * @throws DataAccessError `REDIS_URL_INVALID` or `OPTION_INVALID`.
 */
export function redisWake(given: RedisWakeOptions): WakeChoice {
  checkRedisOptions('redisWake', given, { channel: text })
  const { channel = 'data-access:wake', ...options } = given
  if (channel === '') throw new DataAccessError('OPTION_INVALID', 'The channel of redisWake is empty; give it a name')
  return {
    prepare: async () => {
      if (options.client === undefined) await loadIoredis()
    },
    open: (surroundings) => new RedisWakeChannel(options, channel, surroundings),
  }
}

class RedisWakeChannel implements WakeChannel {
  readonly address: string
  readonly #options: RedisOptions
  readonly #channel: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #connection: RedisConnection
  /** Begins our own messages, which are no news to us. */
  readonly #self = randomUUID()
  readonly #closing = new AbortController()
  #sending = false
  #again = false
  /** When the next message would be on time. */
  #nextAt = 0
  #lastError: unknown
  #listening: Listening | undefined
  #ended: Promise<void> | undefined

  constructor(options: RedisOptions, channel: string, { clock, logger }: { clock: Clock; logger: Logger }) {
    this.#options = options
    this.#channel = channel
    this.#clock = clock
    this.#logger = logger
    this.#connection = new RedisConnection({ ...options, timeoutMs }, { logger, use: 'wakes' })
    this.address = `channel ${channel} of ${this.#connection.address}`
  }

  get sure(): boolean {
    return this.#listening?.sure ?? true
  }

  send(): void {
    this.#again = true
    if (this.#sending || this.#closing.signal.aborted) return
    this.#sending = true
    inRootContext(() => void this.#sendAll())
  }

  listen(hears: WakeListener): () => void {
    if (this.#closing.signal.aborted) return () => {}
    const listening: Listening = { hears, sure: false, warned: false, heard: 0, stop: new AbortController() }
    this.#listening = listening
    this.#ended = inRootContext(() => this.#keepListening(listening))
    return () => {
      listening.stop.abort()
      if (this.#listening === listening) this.#listening = undefined
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#listening?.stop.abort()
    await this.#connection.close()
    await this.#ended
  }

  async #sendAll(): Promise<void> {
    while (this.#again) {
      const waitMs = this.#nextAt - toleranceMs - this.#clock.now()
      if (waitMs > 0) await this.#clock.wait(waitMs, this.#closing.signal).catch(() => {})
      this.#again = false
      this.#nextAt = Math.max(this.#nextAt, this.#clock.now()) + debounceMs
      await this.#publish('wake')
    }
    this.#sending = false
  }

  async #publish(text: string): Promise<void> {
    try {
      await this.#connection.run('PUBLISH', (client) => client.publish(this.#channel, `${this.#self} ${text}`))
    } catch (error) {
      this.#lastError = error
    }
  }

  /** Hears the channel until told to stop, and asks itself at intervals whether it does. */
  async #keepListening(listening: Listening): Promise<void> {
    const { signal } = listening.stop
    const hear = (text: string) => this.#hear(listening, text)
    const subscription = new RedisSubscription(this.#options, [this.#channel], hear, this.#logger)
    let missed = 0
    for (let beat = 1; !signal.aborted; beat++) {
      // The first one soon, so that all is known soon.
      await this.#clock.wait(beat === 1 ? heartbeatMs / 10 : heartbeatMs, signal).catch(() => {})
      if (signal.aborted) break
      missed = listening.heard < beat - 1 ? missed + 1 : 0
      if (missed > 0) this.#setSure(listening, false)
      if (missed > 0 && missed % beatsToReconnect === 0) {
        this.#warn(listening)
        await subscription.reconnect()
      }
      await this.#publish(`beat ${beat}`)
    }
    await subscription.close()
  }

  #hear(listening: Listening, text: string): void {
    if (listening.stop.signal.aborted) return
    const [sender, what, beat] = text.split(' ')
    if (sender !== this.#self) {
      if (what === 'wake') listening.hears.wake()
      return
    }
    if (what !== 'beat') return
    listening.heard = Number(beat)
    if (listening.warned) this.#logger.info(`Wakes come through again on ${this.address}`)
    listening.warned = false
    this.#setSure(listening, true)
  }

  #setSure(listening: Listening, sure: boolean): void {
    if (listening.sure === sure) return
    listening.sure = sure
    listening.hears.changed()
  }

  #warn(listening: Listening): void {
    if (listening.warned) return
    listening.warned = true
    const message = `No wake comes through on ${this.address}; the relay polls more often until one does`
    this.#logger.warn(message, { error: this.#lastError })
  }
}

/** One time of hearing the channel, from `listen()` to its end. */
interface Listening {
  readonly hears: WakeListener
  readonly stop: AbortController
  sure: boolean
  warned: boolean
  /** The number of the last own message that came back. */
  heard: number
}
