import { AsyncLocalStorage } from 'node:async_hooks'

const snapshot = AsyncLocalStorage.snapshot()

/**
 * Runs a function outside every request: in the async context in which this library was loaded. What lives longer than its
 * caller must start so, or its timers keep the caller's transaction, tenant and trace for ever.
 */
export function inRootContext<Result>(run: () => Result): Result {
  return snapshot(run)
}
