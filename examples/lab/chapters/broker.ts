import { setTimeout } from 'node:timers/promises'
import { type OutboxEvent, type Outcome, type PublishContext, type Publisher, unavailable } from '@innovateai/data-access/outbox'
import type { WavePicture } from '../contract/live.ts'
import type { BrokerSwitches } from '../contract/results.ts'

const keptWaves = 24

/** The way to the broker, with switches: it can be away, slow, and choke on single events. */
export class Broker implements Publisher {
  readonly name: string
  readonly poisoned = new Set<string>()
  readonly #inner: Publisher
  readonly #changed: () => void
  #up = true
  #latencyMs = 150
  #waves: WavePicture[] = []
  #waveCount = 0
  #committedAt: number | undefined

  constructor(inner: Publisher, changed: () => void) {
    this.name = inner.name
    this.#inner = inner
    this.#changed = changed
  }

  get switches(): BrokerSwitches {
    return { up: this.#up, latencyMs: this.#latencyMs }
  }

  get waves(): readonly WavePicture[] {
    return this.#waves
  }

  set({ up, latencyMs }: BrokerSwitches): BrokerSwitches {
    this.#up = up
    this.#latencyMs = latencyMs
    this.#changed()
    return this.switches
  }

  /** The relay waits for events, and now there are some: the next wave shows how soon it woke. */
  noteCommit(): void {
    this.#committedAt = performance.now()
  }

  forgetWaves(): void {
    this.#waves = []
    this.#waveCount = 0
  }

  // #region publisher
  async publish(events: readonly OutboxEvent[], { signal }: PublishContext): Promise<readonly Outcome[]> {
    const showOutcomes = this.#drawWave(events)
    await setTimeout(this.#latencyMs, undefined, { signal })
    if (!this.#up) return showOutcomes(events.map(() => away()))
    const sound = events.filter(({ id }) => !this.poisoned.has(id))
    const answers = await this.#inner.publish(sound, { signal })
    const byId = new Map(sound.map(({ id }, index) => [id, answers[index] as Outcome]))
    return showOutcomes(events.map((event) => byId.get(event.id) ?? refused(event)))
  }
  // #endregion

  #drawWave(events: readonly OutboxEvent[]): (outcomes: readonly Outcome[]) => readonly Outcome[] {
    const wokenAfterMs = this.#committedAt === undefined ? null : performance.now() - this.#committedAt
    this.#committedAt = undefined
    const number = ++this.#waveCount
    const draw = (outcomes: readonly Outcome[] | undefined): WavePicture => ({
      number,
      wokenAfterMs,
      events: events.map(({ id, orderingKey }, index) => {
        return { id, key: orderingKey ?? '', outcome: outcomes?.[index]?.status ?? 'under way' }
      }),
    })
    this.#waves = [...this.#waves, draw(undefined)].slice(-keptWaves)
    this.#changed()
    return (outcomes) => {
      this.#waves = this.#waves.map((wave) => (wave.number === number ? draw(outcomes) : wave))
      this.#changed()
      return outcomes
    }
  }
}

function away(): Outcome {
  return { status: 'unavailable', error: unavailable(new Error('the broker was switched off in the lab')) }
}

function refused({ id }: OutboxEvent): Outcome {
  return { status: 'retryable', error: new Error(`the broker cannot read event ${id}: it was poisoned in the lab`) }
}
