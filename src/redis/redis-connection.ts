import { DataAccessError } from '../errors.ts'
import { CircuitBreaker, type CircuitState } from '../kernel/circuit-breaker.ts'
import { type Clock, monotonicClock } from '../kernel/clock.ts'
import type { Logger } from '../kernel/logger.ts'
import { maskPassword } from '../kernel/mask-password.ts'
import { describeThrown } from '../kernel/thrown-error.ts'
import { Deadline, Silence } from './deadline.ts'
import { discard, loadIoredis, makeRedisClient, type RedisClient, reconnect, warnOfClientSettings } from './redis-client.ts'
import { checkRedisOptions, type RedisOptions, redisTimeout } from './redis-options.ts'
import { cureOfAbsence, isRedisReply } from './redis-reply.ts'

/** What a {@link RedisConnection} works with. */
export interface RedisSurroundings {
  readonly clock?: Clock
  /** Without one nothing is logged: whoever works with the connection tells what its errors say. */
  readonly logger?: Logger
  /** What it is for, in the log, since a process may have several: `the cache`. */
  readonly use?: string
}

const defaultTimeoutMs = 50
const breakerRule = { failures: 3, openMs: 500 }

/**
 * One connection to Redis whose every command ends within a bounded time: with its answer, with `REDIS_UNAVAILABLE` when no
 * answer came or none is to be expected, or with `REDIS_COMMAND_FAILED` when Redis refused. Safe for concurrent use.
 */
export class RedisConnection {
  /** Safe to print: the password is masked. */
  readonly address: string
  readonly #options: RedisOptions
  readonly #timeoutMs: number
  readonly #logger: Logger | undefined
  readonly #use: string
  readonly #breaker: CircuitBreaker
  #client: Promise<RedisClient> | undefined
  #opened: RedisClient | undefined
  #ready: Promise<void> | undefined
  #lastError: Error | undefined
  /** Why Redis keeps to database 0, while the connection stands. */
  #elsewhere: Error | undefined
  /** Something has come from Redis since a command was given up last. */
  #answers = false
  #closed = false

  constructor(options: RedisOptions, { clock = monotonicClock, logger, use }: RedisSurroundings = {}) {
    checkRedisOptions('Redis', options, { timeoutMs: redisTimeout })
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs
    this.address = options.url === undefined ? 'the given ioredis client' : maskPassword(options.url)
    this.#options = options
    this.#logger = logger
    this.#use = use === undefined ? 'Redis' : `Redis for ${use}`
    this.#breaker = new CircuitBreaker(breakerRule, clock)
    if (options.client !== undefined && logger !== undefined) warnOfClientSettings(options.client, logger)
  }

  get circuit(): CircuitState {
    return this.#breaker.state
  }

  /**
   * Loads the driver, or warns of a given client's settings; asks no server.
   *
   * @throws DataAccessError `DRIVER_MISSING`; `CLOSED`, for what is closed never opens again.
   */
  async prepare(logger = this.#logger): Promise<void> {
    if (this.#closed) {
      throw new DataAccessError(
        'CLOSED',
        `This connection to Redis at ${this.address} was closed, as data.close() does with the publishers of its relays; make a new one for each data access`,
      )
    }
    const { client } = this.#options
    if (client === undefined) await loadIoredis()
    else if (logger !== undefined) warnOfClientSettings(client, logger)
  }

  /** Begins to connect and returns at once. Commands connect by themselves; this only saves the first one the wait. */
  connect(): void {
    this.#open().then(
      (client) => startConnecting(client),
      // Every command meets the same error, but a caller that can do without Redis may keep it to itself.
      (error: Error) => this.#logger?.error(error.message),
    )
  }

  /**
   * Runs commands and waits for their answer. A `TypeError` or `RangeError` is thrown as it is: a fault in how the commands were
   * made, which says nothing of Redis.
   *
   * @param what names the commands in errors.
   * @param timeoutMs bounds the wait for connection and answer together; time for which this process is busy is not counted in full.
   */
  async run<T>(what: string, command: (client: RedisClient) => Promise<T>, timeoutMs: number = this.#timeoutMs): Promise<T> {
    if (this.#closed) throw new DataAccessError('CLOSED', `${what} came after the Redis connection was closed`)
    const client = this.#opened ?? (await this.#open())
    const admission = this.#breaker.admit()
    if (admission === undefined) throw this.#unavailable(what, 'gave no answer lately and is left alone for a moment')
    const deadline = new Deadline(timeoutMs)
    try {
      if (client.status !== 'ready') await deadline.bound(this.#whenReady(client))
      // What is meant for another database must not go where others have theirs.
      if (this.#elsewhere !== undefined) throw new Error('Redis has no such database', { cause: this.#elsewhere })
      const answer = await deadline.bound(command(client), this.#heard)
      this.#breaker.succeeded()
      return answer
    } catch (error) {
      if (isRedisReply(error)) {
        this.#breaker.succeeded()
        throw this.#refused(what, error)
      }
      if (isFaultOfCaller(error)) {
        // A probe that proved nothing must end, or none would follow.
        if (admission.kind === 'probe') this.#breaker.failed(admission)
        throw error
      }
      this.#breaker.failed(admission)
      // One over which answers still come, too late, is slow and not gone.
      if (admission.kind === 'probe' && !this.#answers && this.#options.client === undefined) reconnect(client)
      this.#answers = false
      throw this.#unavailable(what, error instanceof Silence ? error.message : 'is not connected', error)
    } finally {
      deadline.end()
    }
  }

  /** Measures one round trip, in milliseconds. */
  async ping(timeoutMs: number = this.#timeoutMs): Promise<number> {
    const startedAt = performance.now()
    await this.run('PING', (client) => client.ping(), timeoutMs)
    return performance.now() - startedAt
  }

  /**
   * Ends a client of our own for whose answer nobody waits any more: what comes next would wait behind its bytes, and goes over a
   * connection of its own instead. Does nothing to a client that was given, or was abandoned before.
   */
  abandon(client: RedisClient): void {
    if (client !== this.#opened || this.#options.client !== undefined) return
    this.#client = undefined
    this.#opened = undefined
    this.#ready = undefined
    discard(client)
  }

  /** Ends the connection after the commands already sent; leaves a client that was given alone. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#options.client !== undefined) return
    const client = await this.#client?.catch(() => undefined)
    if (client === undefined) return
    if (client.status === 'ready') {
      const silence = new Deadline(this.#timeoutMs)
      await silence.bound(client.quit()).catch(() => undefined)
      silence.end()
    }
    discard(client)
  }

  readonly #heard = (): void => {
    this.#answers = true
  }

  /** One wait for all commands that came while it connects. */
  #whenReady(client: RedisClient): Promise<void> {
    this.#ready ??= whenReady(client).finally(() => {
      this.#ready = undefined
    })
    return this.#ready
  }

  #open(): Promise<RedisClient> {
    this.#client ??= this.#make()
    return this.#client
  }

  async #make(): Promise<RedisClient> {
    const client = this.#options.client ?? (await makeRedisClient(this.#options.url as string))
    this.#opened = client
    if (this.#options.client !== undefined) return client
    // Without a listener ioredis prints every failed attempt.
    client.on('error', (error: Error) => {
      if (client !== this.#opened) return
      if (this.#lastError === undefined) this.#logger?.warn(`${this.#use} at ${this.address} is away`, { cause: error.message })
      this.#lastError = error
      if ((error as { command?: { name?: unknown } }).command?.name === 'select') this.#elsewhere = error
    })
    client.on('connect', () => {
      this.#elsewhere = undefined
    })
    client.on('ready', () => {
      // ioredis goes on without the database that it could not select.
      if (this.#elsewhere !== undefined) return
      if (this.#lastError !== undefined) this.#logger?.info(`${this.#use} at ${this.address} is back`)
      this.#lastError = undefined
    })
    return client
  }

  #unavailable(what: string, why: string, cause?: unknown): DataAccessError {
    // What ended the connection, such as a wrong password, tells more than that there is none.
    const reason = this.#lastError
    const told = reason === undefined ? why : `${why} (${describeThrown(reason)})`
    const cure = cureOfAbsence(reason?.message ?? '', this.#elsewhere !== undefined)
    const message = `Redis at ${this.address} ${told}, so ${what} was given up. ${cure}`
    return new DataAccessError('REDIS_UNAVAILABLE', message, {
      cause: reason ?? (cause instanceof Silence ? undefined : cause),
      context: { address: this.address, command: what, circuit: this.circuit },
    })
  }

  #refused(what: string, reply: Error): DataAccessError {
    return new DataAccessError('REDIS_COMMAND_FAILED', `Redis at ${this.address} refused ${what}: ${reply.message}`, {
      cause: reply,
      context: { address: this.address, command: what, reply: reply.message.split(' ', 1)[0] },
    })
  }
}

/** ioredis tells of its connection by plain errors; these come from what it was called with. */
function isFaultOfCaller(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError
}

function startConnecting(client: RedisClient): void {
  if (client.status === 'wait') client.connect().catch(() => undefined) // the error event tells it
}

/** Resolves once a client that is connecting for the first time is ready; rejects at once when it is known to be away. */
function whenReady(client: RedisClient): Promise<void> {
  startConnecting(client)
  const { status } = client
  if (status !== 'connecting' && status !== 'connect') return Promise.reject(new Error(`The client is ${status}`))
  return new Promise((resolve, reject) => {
    const settle = (end: () => void) => () => {
      client.off('ready', ready)
      client.off('close', gone)
      end()
    }
    const ready = settle(resolve)
    const gone = settle(() => reject(new Error('The connection was closed')))
    client.on('ready', ready)
    client.on('close', gone)
  })
}
