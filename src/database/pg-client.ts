/** The parts of a `pg` client that are needed here. */
export interface PgClient {
  readonly connection?: { readonly stream?: { destroy(error?: unknown): void } }
  /** What the connection was opened with: limits in ms; `false` or 0 where it has none of its own. */
  readonly connectionParameters?: { readonly statement_timeout?: number | false; readonly query_timeout?: number | false }
  query(...args: unknown[]): unknown
  end(...args: unknown[]): unknown
  once(event: 'end', listener: () => void): void
  once(event: 'error', listener: (reason: Error) => void): void
}

/** The text of a statement that is sent as text alone, in the way that Kysely calls the client. */
export function plainText([text, parameters, ...rest]: readonly unknown[]): string | undefined {
  const plain = typeof text === 'string' && Array.isArray(parameters) && parameters.length === 0 && rest.length === 0
  return plain ? text : undefined
}

/** Whether a query is its own answer, as a cursor is. */
export function isSubmittable(query: unknown): query is { submit: unknown } {
  return typeof query === 'object' && query !== null && 'submit' in query
}
