import type { Logger } from '../../kernel/logger.ts'
import { isRedisAway, runSized } from '../../redis/large-command.ts'
import type { RedisClient } from '../../redis/redis-client.ts'
import { RedisConnection } from '../../redis/redis-connection.ts'
import type { RedisOptions } from '../../redis/redis-options.ts'
import { type Message, type MessagePublishing, publishInPortions } from './portions.ts'
import type { OutboxEvent, Outcome, PublishContext, Publisher } from './publisher.ts'
import { UnbegunEvents } from './unbegun-events.ts'

/** How long to wait for the answers to one wave, in ms. */
const defaultTimeoutMs = 2000

/** In what the publishers on Redis differ. */
export interface RedisPublishing extends Omit<MessagePublishing, 'publish'> {
  readonly name: string
  /** Names the command in errors. */
  readonly what: string
  /** Tells what became of each message, or throws what became of those of which it told nothing. */
  send(client: RedisClient, messages: readonly Message[], tell: (message: Message, outcome: Outcome) => void): Promise<void>
}

/** Publishes events on Redis, as messages that each such publisher makes and sends in its own way. */
export class RedisPublisher implements Publisher {
  readonly name: string
  readonly #redis: RedisConnection
  readonly #unbegun = new UnbegunEvents()
  readonly #timeoutMs: number
  readonly #publishing: RedisPublishing

  constructor({ url, client, timeoutMs = defaultTimeoutMs }: RedisOptions, publishing: RedisPublishing) {
    this.name = publishing.name
    this.#publishing = publishing
    this.#timeoutMs = timeoutMs
    // Without a logger: the relay tells of a Redis that is away, and what it does meanwhile.
    this.#redis = new RedisConnection({ url, client, timeoutMs })
  }

  async prepare(surroundings?: { readonly logger: Logger }): Promise<void> {
    await this.#redis.prepare(surroundings?.logger)
  }

  async publish(events: readonly OutboxEvent[], context: PublishContext): Promise<readonly Outcome[]> {
    const { place, write } = this.#publishing
    const publish = (messages: readonly Message[], signal: AbortSignal) => this.#send(messages, signal)
    return publishInPortions(events, context, this.#unbegun, { place, write, publish })
  }

  async close(): Promise<void> {
    await this.#redis.close()
  }

  async #send(messages: readonly Message[], signal: AbortSignal): Promise<Outcome[]> {
    const { what, send } = this.#publishing
    const outcomes = new Map<Message, Outcome>()
    let lost: Outcome | undefined
    try {
      const texts = messages.map(({ text }) => text)
      const command = { what, texts, timeoutMs: this.#timeoutMs, signal }
      await runSized(this.#redis, command, (client) =>
        send(client, messages, (message, outcome) => outcomes.set(message, outcome)),
      )
    } catch (error) {
      lost = { status: isRedisAway(error) ? 'unavailable' : 'retryable', error }
    }
    return messages.map((message) => outcomes.get(message) ?? (lost as Outcome))
  }
}
