import { isSubmittable, type PgClient, plainText } from './pg-client.ts'

type Send = (...args: unknown[]) => unknown

/** Begins a statement that may wait for the commit. To a client that does not know it, it is a comment. */
export const withCommit = '/* with the commit */ '

/** How Kysely begins a transaction: nothing but the beginning, for a script of one's own may start alike. */
const beginning = /^(begin|start transaction[a-z ]*)$/

/** Behind a line break, for what an application's hook adds to a statement may be a comment to the end of its line. */
const separator = '\n;'

/**
 * Saves a client the round trips whose answers tell nothing: `begin` travels with the first statement of its transaction, and
 * what was handed over with {@link withCommit} with the `commit`, in one message each. The server takes the statements of a
 * message one by one and stops at the first that fails, so none of them does what it would not have done alone.
 *
 * Only for statements without parameters, as MikroORM sends them; any other goes on its own, behind what waits.
 */
export function saveRoundTrips(client: Pick<PgClient, 'query'>): void {
  const trips = new RoundTrips(client.query.bind(client))
  client.query = (...args) => trips.query(args)
}

class RoundTrips {
  readonly #send: Send
  /** A transaction was begun through this client and has not ended. */
  #open = false
  /** The `begin` that was accepted and not sent. */
  #begin: string | undefined
  /** The statements that wait for the commit. */
  #last: string[] = []
  /** Sent to open the transaction, or to hand over what waited, and not answered. Stays when it failed: nothing may follow. */
  #leading: Promise<unknown> | undefined

  constructor(send: Send) {
    this.#send = send
  }

  query(args: unknown[]): unknown {
    const text = plainText(args)
    if (!this.#open) return text !== undefined && beginning.test(text) ? this.#beginLater(text) : this.#send(...args)
    if (text === 'commit') return this.#commit()
    if (text === 'rollback') return this.#rollback()
    if (text?.startsWith(withCommit)) {
      this.#last.push(text)
      return accepted()
    }
    const waits = this.#last.length > 0 || (this.#begin !== undefined && text === undefined)
    if (waits) this.#lead(this.#message(this.#waiting()))
    if (this.#leading !== undefined) return this.#follow(args)
    return this.#begin !== undefined && text !== undefined ? this.#first(this.#begin, text) : this.#send(...args)
  }

  #beginLater(text: string): Promise<unknown> {
    this.#open = true
    this.#begin = text
    this.#last = []
    this.#leading = undefined
    return accepted()
  }

  #first(begin: string, text: string): Promise<unknown> {
    this.#begin = undefined
    const answer = this.#openWith(begin, text)
    // Its own failure is its caller's alone: the transaction is open all the same, and refuses what follows by itself.
    this.#lead(answer.catch(() => {}))
    return answer
  }

  async #openWith(begin: string, text: string): Promise<unknown> {
    try {
      const [, ...results] = await this.#message([begin, text])
      // The text may have held several statements itself.
      return results.length === 1 ? results[0] : results
    } catch (error) {
      // A message with a syntax error is refused whole, so nothing was begun and what follows would stand outside. The server
      // is asked: it refuses another `begin` in a transaction that a statement has failed in.
      if (!isRefusal(error)) throw error
      placeInText(error, begin.length + separator.length)
      if (stoodInTheTransaction(error) || !(await this.#begins(begin))) throw error
      return this.#send(text, [])
    }
  }

  async #begins(begin: string): Promise<boolean> {
    try {
      await this.#send(begin, [])
      return true
    } catch {
      return false
    }
  }

  async #commit(): Promise<unknown> {
    // Without a wait when there is nothing to wait for: a late statement would be taken for one of this transaction.
    if (this.#leading !== undefined) await this.#leading
    this.#open = false
    // Nothing was asked of the database.
    if (this.#begin !== undefined && this.#last.length === 0) return accepted()
    return (await this.#message([...this.#waiting(), 'commit'])).at(-1)
  }

  async #rollback(): Promise<unknown> {
    this.#last = []
    if (this.#leading !== undefined) await this.#leading.catch(() => {})
    this.#leading = undefined
    this.#open = false
    return this.#begin === undefined ? this.#send('rollback', []) : accepted()
  }

  /** Takes what was accepted and not sent. */
  #waiting(): string[] {
    const waiting = this.#begin === undefined ? this.#last : [this.#begin, ...this.#last]
    this.#begin = undefined
    this.#last = []
    return waiting
  }

  #lead(sent: Promise<unknown>): void {
    const leading = sent.then(() => {
      if (this.#leading === leading) this.#leading = undefined
    })
    // Whoever follows hears of its failure, at the latest the commit.
    leading.catch(() => {})
    this.#leading = leading
  }

  #follow(args: unknown[]): unknown {
    // A cursor is its own answer and cannot wait; the client sends it behind what leads.
    if (isSubmittable(args[0])) return this.#send(...args)
    return (this.#leading as Promise<unknown>).then(() => this.query(args))
  }

  /** Sends statements as one message; resolves to their results. */
  async #message(statements: readonly string[]): Promise<unknown[]> {
    const results = await this.#send(statements.join(separator), [])
    return Array.isArray(results) ? results : [results]
  }
}

/** What the caller of a statement that waits is told. */
async function accepted() {
  return { command: '', rowCount: 0, rows: [], fields: [] }
}

/** What the server answers to a statement that it refuses. */
interface Refusal extends Error {
  /** The SQLSTATE. */
  readonly code?: string
  /** The place in the message, from 1. */
  position?: string
}

/** An answer of the server, and not the end of the connection or of the client's patience. */
function isRefusal(error: unknown): error is Refusal {
  return error instanceof Error && 'severity' in error
}

/** SQLSTATE classes 23, a constraint, and 40, a conflict: no text is refused for these before it runs. */
function stoodInTheTransaction({ code }: Refusal): boolean {
  return code !== undefined && /^(23|40)/.test(code)
}

/** Counts the place of an error from the beginning of the caller's own text. */
function placeInText(error: Refusal, ahead: number): void {
  if (error.position !== undefined) error.position = String(Number(error.position) - ahead)
}
