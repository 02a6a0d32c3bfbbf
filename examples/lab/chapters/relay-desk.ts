import type { DataAccess } from '@innovateai/data-access'
import type { Relay, RelayCounts } from '@innovateai/data-access/outbox'
import type { OutboxPicture } from '../contract/live.ts'
import type { Broker } from './broker.ts'
import { LabRefusal } from './lab-refusal.ts'

/** Starts, drains and stops the relay of the lab, and keeps what to draw of it. */
export class RelayDesk {
  readonly #data: DataAccess
  readonly #broker: Broker
  readonly #changed: () => void
  #relay: Relay | undefined
  #draining: AbortController | undefined
  #done = 0
  #total = 0

  constructor(data: DataAccess, broker: Broker, changed: () => void) {
    this.#data = data
    this.#broker = broker
    this.#changed = changed
  }

  get running(): boolean {
    return this.#relay !== undefined
  }

  get progress(): OutboxPicture['progress'] {
    return { done: Math.min(this.#done, this.#total), total: this.#total }
  }

  get picture(): OutboxPicture['relay'] {
    const status = this.#relay?.status()
    return {
      state: this.#draining ? 'draining' : this.#relay ? 'running' : 'stopped',
      paused: status?.paused?.cause ?? null,
      inHand: status?.inHand ?? 0,
      retried: status?.retried ?? 0,
      deadLettered: status?.deadLettered ?? 0,
    }
  }

  /** So many events have been committed. */
  noteCommit(events: number): void {
    this.#total += events
    if (this.#relay !== undefined && this.#relay.status().inHand === 0) this.#broker.noteCommit()
    this.#changed()
  }

  async start(): Promise<null> {
    if (this.#relay !== undefined) return null
    const relay = await this.#make()
    try {
      await relay.start()
    } catch (error) {
      this.#relay = undefined
      throw error
    }
    this.#changed()
    return null
  }

  async drain(): Promise<RelayCounts> {
    if (this.#relay !== undefined) throw new LabRefusal({ code: 'BUSY', message: 'The relay runs already: stop it first' })
    const relay = await this.#make()
    this.#draining = new AbortController()
    this.#changed()
    try {
      return await relay.drain({ signal: this.#draining.signal })
    } finally {
      this.#relay = undefined
      this.#draining = undefined
      this.#changed()
    }
  }

  async stop(): Promise<null> {
    this.#draining?.abort(new LabRefusal({ code: 'STOPPED', message: 'The relay was stopped; what is left stays pending' }))
    if (this.#draining === undefined) {
      await this.#relay?.stop()
      this.#relay = undefined
    }
    this.#changed()
    return null
  }

  async #make(): Promise<Relay> {
    // #region relay
    const relay = this.#data.outbox.relay({
      publisher: this.#broker,
      retry: { attempts: 3, baseMs: 300, maxMs: 1000 },
      publishTimeout: 5000,
      lease: 10_000,
    })
    relay.on('published', ({ events }) => this.#settled(events.length))
    relay.on('deadLettered', () => this.#settled(1))
    relay.on('retried', this.#changed)
    relay.on('paused', this.#changed)
    relay.on('resumed', this.#changed)
    // #endregion
    this.#relay = relay
    this.#done = 0
    try {
      this.#total = (await this.#data.outbox.stats()).backlog
    } catch (error) {
      this.#relay = undefined
      throw error
    }
    return relay
  }

  #settled(events: number): void {
    this.#done += events
    this.#changed()
  }
}
