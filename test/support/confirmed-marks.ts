import type { Relay } from '../../src/outbox/relay/relay.ts'

/** Knows what relays told as published, which is told behind a confirmed mark: nothing of it may be published again. */
export class ConfirmedMarks {
  readonly #marked = new Set<string>()
  /** The ids of what was published again all the same. */
  readonly repeated: string[] = []

  listenTo(relay: Relay): void {
    relay.on('published', ({ events }) => {
      for (const { id } of events) this.#marked.add(id)
    })
  }

  /** To be told as a publish begins. */
  publishing(id: string): void {
    if (this.#marked.has(id)) this.repeated.push(id)
  }
}
