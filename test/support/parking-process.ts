import { type AskedProcess, startAskedProcess } from './asked-process.ts'

/** What a process works on that parks its loads. */
export interface ParkingOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
  /** How long its copies live, in milliseconds; without it there are none. */
  readonly tierMs?: number
  /** The ttl of users, who are served stale then. */
  readonly staleAfterMs?: number
}

/** What it reads: a user's name, those of several, or the occupation of a user's latest score. */
export type ParkingRead =
  | { readonly what: 'row'; readonly id: string }
  | { readonly what: 'rows'; readonly ids: readonly string[] }
  | { readonly what: 'query'; readonly id: string }

export type ParkingOrder =
  | { readonly verb: 'read'; readonly read: ParkingRead }
  /** Begins a read, and answers once what it has loaded, or what Redis has told it, is on its way to the cache. */
  | { readonly verb: 'park'; readonly where: 'load' | 'copy'; readonly read: ParkingRead }
  /** Lets it go on, and answers what it gave. */
  | { readonly verb: 'resume' }
  | { readonly verb: 'tell figures' }

/** A data access with a cache in a process of its own, which parks its loads. */
export type ParkingProcess = AskedProcess<ParkingOrder>

/** Starts one; resolves once it is open. */
export function startParkingProcess(options: ParkingOptions): Promise<ParkingProcess> {
  return startAskedProcess('parking-in-child.ts', options)
}
