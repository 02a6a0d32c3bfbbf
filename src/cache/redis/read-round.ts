import type { EntryRequest, Found } from '../cache-store.ts'
import { decodeFrom } from '../codec.ts'
import { failureText } from './scripts.ts'

/** What an entry must say of itself to be a hit: its version and the live values of its stamps, where all of them are there. */
interface Proof {
  readonly stamps: readonly string[]
  readonly version: string
  readonly live: readonly (string | undefined)[]
  readonly expected: string | undefined
}

/** What stands in an entry between its token and its payload. */
export function proofText(version: string, database: string, stamps: readonly string[]): string {
  return `${ofDatabase(version, database)}${stamps.join(',')}|`
}

/**
 * The value of a stamp, as it counts in this run of the server. A server that has started anew, or that takes another one's place, may have brought
 * back what an acknowledged invalidation had ended, both an entry and its stamps: what was filled or leased before then proves nothing.
 */
export function stampIn(run: string, value: string): string {
  return run + value
}

function ofDatabase(version: string, database: string): string {
  return `|${version}@${database}|`
}

/** What is read from Redis by one command: the texts of entries and of their stamps. */
export class ReadRound {
  readonly keys: string[] = []
  readonly #prefix: string
  readonly #database: string
  readonly #metAnother: () => void
  readonly #places = new Map<string, number>()
  #lastStamps: readonly string[] | undefined
  #texts: readonly (string | null)[] = []
  #run = ''
  #proof: Proof | undefined

  /**
   * @param prefix begins every key in Redis.
   * @param metAnother is called for each entry of another database.
   */
  constructor(prefix: string, database: string, metAnother: () => void) {
    this.#prefix = prefix
    this.#database = database
    this.#metAnother = metAnother
  }

  /** Adds entries and their stamps; gives the place of the first entry, for {@link answer}: the others follow. */
  add(requests: readonly EntryRequest[]): number {
    for (const { stamps } of requests) {
      if (stamps === this.#lastStamps) continue
      for (const stamp of stamps) this.#place(stamp)
      this.#lastStamps = stamps
    }
    // One that many ask for is read once; those that are asked for together are not looked for among the others.
    if (requests.length === 1) return this.#place((requests[0] as EntryRequest).key)
    for (const { key } of requests) this.keys.push(this.#prefix + key)
    return this.keys.length - requests.length
  }

  /** Takes what Redis has under {@link keys}. @param run names the run of the server that answered. */
  answered(texts: readonly (string | null)[], run: string): void {
    this.#texts = texts
    this.#run = run
  }

  /** What Redis has for an entry. */
  answer(request: EntryRequest, place: number): Found {
    const text = this.#texts[place] ?? ''
    if (text.startsWith('V')) {
      const { live, expected } = this.#proofOf(request)
      const tokenEnd = text.indexOf('|')
      const seen = text.slice(1, tokenEnd)
      if (expected === undefined || text.slice(tokenEnd, tokenEnd + expected.length) !== expected) {
        this.#look(text, tokenEnd, request.version)
        return { state: 'absent', seen }
      }
      return { state: 'hit', payload: decodeFrom(text, tokenEnd + expected.length), seen, stamps: live as string[] }
    }
    const afterFailure = text.startsWith('M')
    if (afterFailure || text.startsWith('L')) {
      const lease = { state: 'leased', token: text.slice(1), stamps: this.#proofOf(request).live } as const
      return afterFailure ? { ...lease, afterFailure } : lease
    }
    return text === failureText ? { state: 'absent', seen: undefined, afterFailure: true } : { state: 'absent', seen: undefined }
  }

  /** An entry that is no hit may be one of another database. */
  #look(text: string, tokenEnd: number, version: string): void {
    const same = text.startsWith(ofDatabase(version, this.#database), tokenEnd)
    if (!same && text.startsWith(`|${version}@`, tokenEnd)) this.#metAnother()
  }

  #place(key: string): number {
    const known = this.#places.get(key)
    if (known !== undefined) return known
    const place = this.keys.push(this.#prefix + key) - 1
    this.#places.set(key, place)
    return place
  }

  /** Requests that are made together mostly hang on the same stamps, which are then looked up once. */
  #proofOf({ stamps, version }: EntryRequest): Proof {
    if (this.#proof?.stamps === stamps && this.#proof.version === version) return this.#proof
    const live = stamps.map((stamp) => {
      const value = this.#texts[this.#places.get(stamp) as number]
      return value == null ? undefined : stampIn(this.#run, value)
    })
    const expected = live.includes(undefined) ? undefined : proofText(version, this.#database, live as readonly string[])
    this.#proof = { stamps, version, live, expected }
    return this.#proof
  }
}
