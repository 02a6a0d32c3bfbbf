import type { CacheStore } from './cache-store.ts'

/** The store of `cache: false`: it holds nothing, so that every read goes to the database, and nothing needs to expire. */
export const emptyStore: CacheStore = {
  name: 'none',
  read: async (requests) => requests.map(() => ({ state: 'absent', seen: undefined })),
  acquire: async (requests) => requests.map(({ stamps }) => stamps.map(() => '')),
  renew: async () => undefined,
  fill: async (fills) => fills.map(() => true),
  invalidate: async () => undefined,
  ping: async () => 0,
  close: async () => undefined,
}
