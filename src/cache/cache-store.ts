/** What a reader looks for: one entry, and the stamps that must be unchanged since it was filled. */
export interface EntryRequest {
  /** Names the entry, alike in all processes that cache this database. */
  readonly key: string
  /** Keys of the stamps, in a fixed order. */
  readonly stamps: readonly string[]
  /** The shape in which the entry's payload is written: one of another version is no entry. */
  readonly version: string
}

/**
 * Plain data, never `undefined`: what JSON knows, and Date, bigint, binary, undefined, -0, NaN and the infinities inside it. All
 * who read it may share it, so nobody changes it.
 */
export type Payload = unknown

/** An entry that may be served. */
export interface Hit {
  /** Tells a hit from the other answers. */
  readonly state: 'hit'
  /** What was filled; `null` is a payload too. */
  readonly payload: Payload
  /** Marks the entry: no other fill has the same mark. */
  readonly seen: string
  /** Its stamps' values, which are the live ones. */
  readonly stamps: readonly string[]
  /** It was in this process: nobody was asked for it. */
  readonly atHand?: boolean
}

/** What a store has for an {@link EntryRequest}. */
export type Found =
  | Hit
  /** `seen` marks the unusable entry that is still there, if there is one. `afterFailure` tells that the last load failed. */
  | { readonly state: 'absent'; readonly seen: string | undefined; readonly afterFailure?: boolean }
  /**
   * Somebody is loading. `stamps` are the live values, `undefined` for a missing one. `afterFailure` tells that the load before
   * failed, and that the entry was not invalidated since.
   */
  | {
      readonly state: 'leased'
      readonly token: string
      readonly stamps: readonly (string | undefined)[]
      readonly afterFailure?: boolean
    }

/** The right to fill an entry, named by its token. */
export interface Lease {
  readonly key: string
  readonly token: string
}

/** Asks to be the one who loads an entry. */
export interface LeaseRequest extends EntryRequest {
  /** Random, never used before. */
  readonly token: string
  /** The mark of the entry that was found, unusable or not wanted, and may be replaced. */
  readonly seen: string | undefined
  /** How long the entry will live: its stamps are kept at least as long, in milliseconds. */
  readonly keepMs: number
}

/** Stores an entry under a lease, or gives the lease back. */
export interface Fill {
  /** That of the lease, or of the entry that is replaced. */
  readonly key: string
  /** The shape in which the payload is written, for {@link EntryRequest.version}. */
  readonly version: string
  /** The token of the lease; it becomes the mark of the entry. */
  readonly token: string
  /** The mark of a standing entry that this one replaces without a lease, if it still stands; then the token is a new one. */
  readonly replaces?: string
  /** The stamps' values as the lease was granted, or as the entry was found that is replaced. */
  readonly stamps: readonly string[]
  /** `undefined` gives the lease back and stores nothing. */
  readonly payload: Payload | undefined
  /**
   * True for a load that failed. It has no payload, and for `ttlMs` the entry is absent `afterFailure`, until it is leased or
   * invalidated.
   */
  readonly failed?: boolean
  /** After how many milliseconds the entry ends, at least 1. */
  readonly ttlMs: number
}

/**
 * Where cached entries are. Keys, tokens and stamps are opaque texts. A payload comes back equal and with its types: a store in
 * this process keeps it as it is, and others write it with `encodePayload()` and read it with `decodePayload()`. Every adapter
 * passes `cacheStoreContract()` from the `testing` entry point.
 *
 * - Atomic? Each entry by itself: what one call does to several entries may be seen in part.
 * - Ordered? A call that begins after another one was answered sees what that one did, in whatever process.
 * - Idempotent? `read`, `renew`, `invalidate` and `close` are. A second `acquire` or `fill` with the same token is refused.
 * - Safe concurrently? Yes, between callers and between processes.
 * - Each call ends within a bounded time: it rejects when the store is away, and then may or may not have had its effect.
 */
export interface CacheStore {
  /** Names the store in figures, health and messages. */
  readonly name: string

  /** Looks entries up, in one round trip for all. An entry is a hit only if its version and all its stamps are the live ones. */
  read(requests: readonly EntryRequest[]): Promise<readonly Found[]>

  /**
   * Grants a lease on each entry that is absent, or the one that `seen` marks; creates its missing stamps with random values.
   * Answers with the stamps' values, or `undefined` where the lease is refused. A lease ends by itself after `leaseMs`; a call
   * that rejects gives back what it may have been granted, as far as it can.
   */
  acquire(requests: readonly LeaseRequest[], leaseMs: number): Promise<readonly (readonly string[] | undefined)[]>

  /** Makes leases last `leaseMs` from now. One that has ended, by itself or by an invalidation, is not granted again. */
  renew(leases: readonly Lease[], leaseMs: number): Promise<void>

  /**
   * Stores each entry if its lease is still there, or the entry that it replaces, and tells which were stored. A payload that is
   * too large for the store is not: its lease is given back, or the entry deleted that it was to replace.
   */
  fill(fills: readonly Fill[]): Promise<readonly boolean[]>

  /** Deletes entries, leases, stamps, and what tells of failures. Once it resolves, no read that begins later is a hit on what they held. */
  invalidate(keys: readonly string[]): Promise<void>

  /**
   * Gives the payload of a hit without a wait, or `undefined` when {@link CacheStore.read} must tell. For a store that keeps
   * entries in this process; others leave it out.
   */
  readNow?(request: EntryRequest): Payload | undefined

  /** Ends copies in this process: the next read tells what the store itself has. A store without copies leaves it out. */
  dropCopies?(keys: readonly string[]): void

  /** How long copies in this process may outlive their entries at most, in milliseconds; without it there are no copies. */
  readonly copiesMs?: number

  /** Measures one round trip in milliseconds. */
  ping(): Promise<number>

  /** Frees what the store holds; flushes nothing, since nothing waits. May be called twice. */
  close(): Promise<void>
}
