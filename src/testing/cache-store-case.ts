import type { CacheStore } from '../cache/cache-store.ts'

/** What a case of `cacheStoreContract()` runs with. */
export interface CacheStoreContext {
  /** Opens a store on the same entries each time, as another process would. The runner closes what it opened. */
  open(): Promise<CacheStore>
  /** Lets so many milliseconds pass for the stores: really, or on their clock. */
  pass(ms: number): Promise<void>
}

/** One promise of the `CacheStore` port. */
export interface CacheStoreCase {
  /** The promise as a sentence, unique among the cases. */
  readonly name: string
  /** Rejects if the store breaks the promise. */
  run(context: CacheStoreContext): Promise<void>
}

/** Makes a case that begins with one store. */
export function storeCase(name: string, run: (store: CacheStore, context: CacheStoreContext) => Promise<void>): CacheStoreCase {
  return { name, run: async (context) => run(await context.open(), context) }
}
