import type { EntityManager } from '@mikro-orm/core'
import type { CommitScope } from '../kernel/commit-scope.ts'

/** A flush that has begun, and of which nobody has told yet what it has written. */
interface Attempt {
  readonly scope: CommitScope | undefined
  readonly keys: ReadonlySet<string>
}

/**
 * Remembers what flushes set out to write. One that fails half way tells nothing of what it had written by then, and its transaction may
 * commit all the same if the error is caught; one in a transaction that began out of our sight is reported by nobody.
 */
export class FlushAttempts {
  readonly #latest = new WeakMap<EntityManager, Attempt>()
  readonly #untold = new WeakMap<CommitScope, Set<Attempt>>()

  /** A flush begins that may expire these keys. */
  begin(em: EntityManager, scope: CommitScope | undefined, keys: readonly string[]): void {
    const attempt = { scope, keys: new Set(keys) }
    if (attempt.keys.size > 0) this.#latest.set(em, attempt)
    else this.#latest.delete(em)
    if (scope === undefined || attempt.keys.size === 0) return
    const untold = this.#untold.get(scope) ?? new Set()
    this.#untold.set(scope, untold.add(attempt))
  }

  /** The latest flush of an entity manager has been told of with all that it wrote. */
  told(em: EntityManager): void {
    const attempt = this.#latest.get(em)
    this.#latest.delete(em)
    if (attempt?.scope !== undefined) this.#untold.get(attempt.scope)?.delete(attempt)
  }

  /** The keys of the latest flush of an entity manager if nobody was told of it, though it succeeded. */
  endedUntold(em: EntityManager): ReadonlySet<string> | undefined {
    const attempt = this.#latest.get(em)
    this.told(em)
    return attempt?.scope === undefined ? attempt?.keys : undefined
  }

  /** The same if it failed; or goes on, where one in a hook of it was refused. */
  failedUntold(em: EntityManager): ReadonlySet<string> | undefined {
    const attempt = this.#latest.get(em)
    return attempt?.scope === undefined ? attempt?.keys : undefined
  }

  /** The keys of the flushes in a root transaction that failed. */
  failedIn(scope: CommitScope): readonly string[] {
    return [...(this.#untold.get(scope) ?? [])].flatMap(({ keys }) => [...keys])
  }
}
