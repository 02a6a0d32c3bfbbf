import type { LiveTopic, LiveTopics } from '../contract/live.ts'

type Listener = (topic: LiveTopic, picture: string) => void
type Readers = { readonly [Topic in LiveTopic]: () => Promise<LiveTopics[Topic]> }

/** Changes within this time become one picture, in ms. */
const gatherMs = 60

/**
 * Tells every open window the newest picture of each topic. A picture is whole, so that a window that comes late, or again after
 * a break, needs no history. Nothing is read while nobody listens.
 */
export class LiveFeed {
  readonly #readers: Readers
  readonly #listeners = new Set<Listener>()
  readonly #waiting = new Map<LiveTopic, NodeJS.Timeout>()
  readonly #reading = new Set<LiveTopic>()
  readonly #again = new Set<LiveTopic>()
  /** What was told last: the same is not told twice. */
  readonly #told = new Map<LiveTopic, string>()

  constructor(readers: Readers) {
    this.#readers = readers
  }

  get watched(): boolean {
    return this.#listeners.size > 0
  }

  /** Something of these topics has changed. */
  touch(...topics: readonly LiveTopic[]): void {
    if (!this.watched) return
    for (const topic of topics) {
      if (this.#waiting.has(topic)) continue
      this.#waiting.set(
        topic,
        setTimeout(() => {
          this.#waiting.delete(topic)
          void this.#tell(topic)
        }, gatherMs),
      )
    }
  }

  /** Hears every picture from now on, and at once the present one of each topic. The function returned ends it. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    this.#told.clear()
    this.touch(...(Object.keys(this.#readers) as LiveTopic[]))
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    this.#waiting.clear()
    this.#listeners.clear()
  }

  async #tell(topic: LiveTopic): Promise<void> {
    // One reading at a time: a slow one must not overtake a later one with an older picture.
    if (this.#reading.has(topic)) return void this.#again.add(topic)
    this.#reading.add(topic)
    try {
      const picture = JSON.stringify(await this.#readers[topic]())
      if (this.#told.get(topic) === picture) return
      this.#told.set(topic, picture)
      for (const listener of this.#listeners) listener(topic, picture)
    } catch {
      // The database is away: the topic `status` says so, and the windows keep the last picture of this one.
    } finally {
      this.#reading.delete(topic)
      if (this.#again.delete(topic)) this.touch(topic)
    }
  }
}
