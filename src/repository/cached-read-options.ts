import { untilAborted } from '../kernel/abortable.ts'
import { checkOptions, type Expectation, flag, type KnownOptions } from '../kernel/options.ts'

/** How one cached read is to be done. */
export interface CachedReadOptions {
  /** Reads the database now, past what is cached, and keeps the result if it is still current. Default false. */
  readonly fresh?: boolean | undefined
  /** Ends this caller's wait, with the signal's reason. A load that others share goes on. Default: it waits for the answer. */
  readonly signal?: AbortSignal | undefined
}

const abortSignal: Expectation = { words: 'an AbortSignal', fits: (value) => value instanceof AbortSignal }
const known: KnownOptions<CachedReadOptions> = { fresh: flag, signal: abortSignal }

/** Runs a read as its options say. */
export async function readAs<Result>(
  door: string,
  options: CachedReadOptions | undefined,
  read: (fresh: boolean) => Promise<Result>,
): Promise<Result> {
  if (options === undefined) return read(false)
  checkOptions({ door }, options, known)
  const { fresh = false, signal } = options
  signal?.throwIfAborted()
  return signal === undefined ? read(fresh) : untilAborted(read(fresh), signal)
}
