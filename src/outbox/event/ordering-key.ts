import { hash } from 'node:crypto'

/**
 * How many buckets the relays share out. A key's bucket is stored with each event, so this number is permanent.
 */
export const bucketCount = 64

/**
 * How many advisory locks stand for all ordering keys at commit. Thousands of single locks in one transaction would fill
 * PostgreSQL's lock table; sharing a slot only makes two keys wait for each other, for the length of a commit.
 */
export const lockSlotCount = 1024

/** Keeps our advisory locks apart from everyone else's: the first argument of `pg_advisory_xact_lock(int, int)`. */
export const advisoryLockClass = 0x0da7a0b

/** The bucket and the lock slot of an ordering key. */
export interface KeyPlacement {
  /** 0 … {@link bucketCount} − 1. */
  readonly bucket: number
  /** 0 … {@link lockSlotCount} − 1. */
  readonly slot: number
}

/**
 * Places an ordering key by the first 32 bits of its SHA-1, the same in every process and version. Both counts are powers
 * of two, so keys of one slot share their bucket too.
 */
export function placeKey(key: string): KeyPlacement {
  const bits = Number.parseInt(hash('sha1', key, 'hex').slice(0, 8), 16)
  return { bucket: bits % bucketCount, slot: bits % lockSlotCount }
}
