import type { Clock } from '../../kernel/clock.ts'
import type { Logger } from '../../kernel/logger.ts'

/** A way to the relays of other processes. Messages may be lost: the relays' polling finds the events anyway. */
export interface WakeChannel {
  /** Tells the other processes that there is something to publish. Returns at once, gathers calls, and never throws. */
  send(): void
  /** Begins to hear the others; the function returned ends it. At most one at a time. */
  listen(hears: WakeListener): () => void
  /** Whether messages get through, as far as is known; `true` while nobody listens. */
  readonly sure: boolean
  /** Safe to print: where it is. */
  readonly address: string
  /** Ends hearing and sending; what was not sent yet may be lost. May be called twice. */
  close(): Promise<void>
}

/** What a {@link WakeChannel} calls while it is listened to. */
export interface WakeListener {
  /** Another process has something to publish. */
  wake(): void
  /** Messages have begun to get through, or do no longer. */
  changed(): void
}

/** Which channel a data access uses; made by `redisWake()`. */
export interface WakeChoice {
  /** Loads what the channel needs: rejects with `DRIVER_MISSING` before anything is open. */
  prepare?(): Promise<void>
  /** Opens the channel, with the clock and the logger of the data access; called once by each. */
  open(surroundings: { readonly clock: Clock; readonly logger: Logger }): WakeChannel
}

/** Tells relays that a commit has stored events, so that they need not wait for their next poll. */
export class Wake {
  readonly #listeners = new Set<() => void>()
  #channel: WakeChannel | undefined
  #stopListening: (() => void) | undefined

  /** Lets the wakes go to other processes too, or no longer; in place of a channel that was closed. */
  join(channel: WakeChannel | undefined): void {
    this.#stopListening?.()
    this.#stopListening = undefined
    this.#channel = channel
    if (this.#listeners.size > 0) this.#listen()
  }

  get channel(): WakeChannel | undefined {
    return this.#channel
  }

  /** Whether a wake of another process would be heard; `true` when there is no channel that could fail. */
  get sure(): boolean {
    return this.#channel?.sure ?? true
  }

  /** Calls the listeners; those that throw are ignored, since polling finds the events anyway. */
  ring(): void {
    this.#call()
    this.#channel?.send()
  }

  /** Adds a listener; the function returned removes it. Other processes are heard while there is one. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    this.#listen()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#stopListening?.()
      this.#stopListening = undefined
    }
  }

  #listen(): void {
    // A change of what is known ends the present wait too: the next one has another length.
    this.#stopListening ??= this.#channel?.listen({ wake: () => this.#call(), changed: () => this.#call() })
  }

  #call(): void {
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch {
        // A wake is a hint; a failing hint must not touch the commit that rings it.
      }
    }
  }
}
