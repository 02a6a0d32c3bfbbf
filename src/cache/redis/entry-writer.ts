import type { Logger } from '../../kernel/logger.ts'
import type { Fill } from '../cache-store.ts'
import { encode } from '../codec.ts'
import { proofText } from './read-round.ts'
import { failureText } from './scripts.ts'

/** A fill as it goes to Redis. */
export interface WrittenFill {
  readonly fill: Fill
  /** `''` to give the lease back. */
  readonly text: string
  readonly bytes: number
  readonly tooLarge: boolean
}

/** How much one entry takes at most. */
const defaultMaxBytes = 1_000_000

/** Writes entries for Redis, all but those that are too large: one of them would hold up all else on the connection, at each read anew. */
export class EntryWriter {
  readonly #maxBytes: number
  readonly #logger: Logger
  readonly #warned = new Set<string>()

  constructor(logger: Logger, maxBytes = defaultMaxBytes) {
    this.#maxBytes = maxBytes
    this.#logger = logger
  }

  /** Each is written when it is asked for. */
  *writeEach(fills: readonly Fill[], database: string): Generator<WrittenFill> {
    for (const fill of fills) yield this.#write(fill, database)
  }

  #write(fill: Fill, database: string): WrittenFill {
    const { token, version, stamps, payload, failed = false } = fill
    if (payload === undefined) return { fill, text: failed ? failureText : '', bytes: 0, tooLarge: false }
    const text = `V${token}${proofText(version, database, stamps)}${encode(payload)}`
    const bytes = Buffer.byteLength(text)
    if (bytes <= this.#maxBytes) return { fill, text, bytes, tooLarge: false }
    this.#warn(fill.key, bytes)
    return { fill, text: '', bytes: 0, tooLarge: true }
  }

  /** Once for each entity and each query. The rest of the key is what somebody has looked for, which the log need not know. */
  #warn(key: string, bytes: number): void {
    const [name = ''] = /^\??[^:@#]*/.exec(key) ?? []
    if (this.#warned.has(name)) return
    this.#warned.add(name)
    const what = name.startsWith('?') ? `A result of the cached query ${name.slice(1)}` : `A cached row of ${name}`
    const cure = 'so it is not kept, and each read of it asks the database; let it hold less, or raise maxBytes of redisCache'
    this.#logger.warn(`${what} takes ${bytes} bytes in Redis, more than ${this.#maxBytes}, ${cure}`)
  }
}
