import { type AskedProcess, startAskedProcess } from './asked-process.ts'

/** What a cache in a process of its own is told. */
export interface CacheProcessOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
  /** Makes the data access around an ORM of its own. */
  readonly adopted?: boolean
}

/** What such a process does. */
export interface CacheOrder {
  readonly verb:
    | 'read'
    | 'read at once a hundred times'
    | 'rename'
    | 'rename and die at the commit'
    | 'rename in a transaction that stays open'
    | 'commit'
    | 'roll back'
    | 'write in bulk and die at the commit'
    | 'tell what it swept'
    | 'latest score'
    | 'score and die at the commit'
    | 'close'
  readonly id: string
  readonly name?: string
  /** How it writes in bulk. */
  readonly way?: 'nativeUpdate' | 'a query builder' | 'upsert' | 'insertMany'
}

/** A data access with a cache in a process of its own. */
export type CacheProcess = AskedProcess<CacheOrder>

/** Starts one; resolves once it is open. */
export function startCacheProcess(options: CacheProcessOptions): Promise<CacheProcess> {
  return startAskedProcess('cache-in-child.ts', options)
}
