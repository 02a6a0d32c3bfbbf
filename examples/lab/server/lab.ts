import { randomUUID } from 'node:crypto'
import { CachingDesk } from '../chapters/caching.ts'
import { initialise } from '../chapters/connectivity.ts'
import { createUser, drawEntities, listUsers, removeUser } from '../chapters/data-models.ts'
import { LoadDesk } from '../chapters/load-desk.ts'
import { addSampleScores, fetchBothWays } from '../chapters/n-plus-one.ts'
import { OutboxDesk } from '../chapters/outbox.ts'
import { startAfresh } from '../chapters/sample-rows.ts'
import { StaleRaceDemo } from '../chapters/stale-race.ts'
import { type Delivery, openDelivery } from '../chapters/subscriber.ts'
import type { ActionInput, ActionName, ActionResults } from '../contract/actions.ts'
import type { Status } from '../contract/live.ts'
import type { LabConnection } from './connect-lab.ts'
import { LiveFeed } from './live-feed.ts'

/** How often the lab looks at what no commit tells of: health, the pool, the relay. In ms. */
const [healthMs, figuresMs] = [2000, 500]

type Actions = { readonly [Name in ActionName]: (input: ActionInput<Name>) => Promise<ActionResults[Name]> | ActionResults[Name] }

/** The five chapters on one data access: what their buttons do, and what their pages show. */
export class Lab {
  readonly feed: LiveFeed
  readonly #connection: LabConnection
  readonly #delivery: Delivery
  readonly #run = randomUUID()
  readonly #caching: CachingDesk
  readonly #race: StaleRaceDemo
  readonly #load: LoadDesk
  readonly #outbox: OutboxDesk
  readonly #actions: Actions
  readonly #timers: readonly NodeJS.Timeout[]

  constructor(connection: LabConnection, delivery: Delivery) {
    const { data } = connection
    this.#connection = connection
    this.#delivery = delivery
    this.#caching = new CachingDesk(data, connection)
    this.#race = new StaleRaceDemo(data)
    this.#load = new LoadDesk(data, () => this.feed.touch('load', 'pool'))
    this.#outbox = new OutboxDesk(data, delivery, () => this.feed.touch('outbox'))
    this.#actions = this.#bindActions()
    this.feed = new LiveFeed({
      status: () => this.#status(),
      users: () => listUsers(data),
      pool: async () => (await data.stats()).pool,
      load: async () => this.#load.picture,
      cache: () => this.#caching.picture(this.#race),
      outbox: () => this.#outbox.picture(),
    })
    this.#timers = [
      setInterval(() => this.feed.touch('status'), healthMs),
      setInterval(() => this.feed.touch('pool', ...(this.#outbox.relay.running ? (['outbox'] as const) : [])), figuresMs),
    ]
  }

  static async open(connection: LabConnection): Promise<Lab> {
    let lab: Lab | undefined
    const arrived = () => lab?.feed.touch('outbox')
    lab = new Lab(connection, await openDelivery(connection.redisUrl, `${connection.redisPrefix}events`, arrived))
    return lab
  }

  entities() {
    return drawEntities(this.#connection.data)
  }

  /** Does what a button asks for, and tells every window what changed. */
  async act<Name extends ActionName>(name: Name, input: ActionInput<Name>): Promise<ActionResults[Name]> {
    try {
      return await this.#actions[name](input)
    } finally {
      this.feed.touch('users', 'cache', 'outbox')
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.feed.close()
    this.#load.stop()
    await this.#race.restart()
    await this.#outbox.relay.stop()
    await this.#connection.data.close()
    await this.#delivery.close()
  }

  async #status(): Promise<Status> {
    const { data, database, cache, keepsRows } = this.#connection
    const health = await data.health()
    const broker = this.#delivery
    return {
      run: this.#run,
      database,
      cache,
      broker: {
        name: broker.name,
        why: this.#connection.redisUrl ? 'REDIS_URL is set; the subscriber has a connection of its own' : 'REDIS_URL is not set',
      },
      keepsRows,
      databaseHealth: health.database,
      cacheHealth: health.cache ?? { ok: true, latencyMs: 0 },
    }
  }

  #bindActions(): Actions {
    const { data } = this.#connection
    return {
      'create-user': (form) => createUser(data, form),
      'remove-user': ({ id }) => removeUser(data, id),
      'start-afresh': () => this.#startAfresh(),
      initialise: () => initialise(data),
      'run-load': ({ requests, concurrency }) => this.#load.begin(requests, [concurrency]),
      'sweep-load': ({ requests }) => this.#load.begin(requests),
      'stop-load': () => this.#load.stop(),
      'add-sample-scores': ({ users }) => addSampleScores(data, users),
      'fetch-scores': ({ users }) => fetchBothWays(data, users),
      'read-user': () => this.#caching.readUser(),
      'read-latest-score': () => this.#caching.readLatestScore(),
      'invalidate-user': () => this.#caching.invalidate(),
      'rename-user': () => this.#caching.rename(),
      'commit-score': () => this.#caching.commitScore(),
      'read-many': ({ reads }) => this.#caching.readMany(reads),
      'step-race': () => this.#race.step(),
      'restart-race': () => this.#race.restart(),
      'calculate-score': (input) => this.#outbox.calculate(input),
      'record-batch': (input) => this.#outbox.recordBatch(input),
      'start-relay': () => this.#outbox.relay.start(),
      'stop-relay': () => this.#outbox.relay.stop(),
      'drain-outbox': () => this.#outbox.relay.drain(),
      'set-broker': (switches) => this.#outbox.broker.set(switches),
      'poison-event': ({ id }) => this.#outbox.poison(id),
      'redrive-letter': ({ id }) => this.#outbox.redrive(id),
      'discard-letter': ({ id }) => this.#outbox.discard(id),
    }
  }

  async #startAfresh() {
    await this.#outbox.relay.stop()
    await this.#race.restart()
    const counts = await startAfresh(this.#connection.data)
    this.#outbox.forget()
    this.#load.forget()
    this.feed.touch('load')
    return counts
  }
}
