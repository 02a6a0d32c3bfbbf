/**
 * Why a read went past the cache by rule: it is in a `transaction`, its entity manager has changes that are `unflushed` (for an entity:
 * rows to insert or delete), its entity manager has a `view` of its own (a filter, a session or a schema), a `filter` that is on for all may show each caller other rows,
 * the database may know the value by another `spelling`, or what was read is `not-cacheable`.
 */
export type BypassReason = 'transaction' | 'unflushed' | 'view' | 'filter' | 'spelling' | 'not-cacheable'

/** What the cache of one entity or query tells its listeners, in the process in which it happens. */
export interface CacheEvents {
  /** Entries were looked up together. `atHand`, in this process, `negative` and `stale` are among the hits. */
  read: {
    readonly hits: number
    readonly misses: number
    readonly atHand: number
    readonly negative: number
    readonly stale: number
  }
  /** The database was read for so many entries, in `ms` milliseconds. */
  loaded: { readonly entries: number; readonly ms: number }
  /** What was loaded for so many entries was not kept: it was changed meanwhile, or its lease had ended. */
  fillRefused: { readonly entries: number }
  /** So many entries were read from the database by rule, past the cache. */
  bypassed: { readonly entries: number; readonly reason: BypassReason }
  /** A call of the store failed; the database answered. */
  storeFailed: { readonly error: Error }
  /** The entry of this `key` is past its ttl and could not be read anew; it is served until its end, or until another try succeeds. */
  revalidationFailed: { readonly key: string; readonly error: Error }
  /** The probe found an entry that outlived a change of its row: somebody may have been served what is no longer true. */
  inconsistent: { readonly key: string }
}

/** The name of something that a cache tells. */
export type CacheEventName = keyof CacheEvents

/** All of them. */
export const cacheEventNames: Readonly<Record<CacheEventName, true>> = {
  ...{ read: true, loaded: true, fillRefused: true, bypassed: true },
  ...{ storeFailed: true, revalidationFailed: true, inconsistent: true },
}
