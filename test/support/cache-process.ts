import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What a cache in a process of its own is told. */
export interface CacheProcessOptions {
  readonly url: string
  readonly redisUrl: string
  readonly prefix: string
}

/** What such a process does. */
export interface CacheOrder {
  readonly verb:
    | 'read'
    | 'read at once a hundred times'
    | 'rename'
    | 'rename and die at the commit'
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
export interface CacheProcess {
  /** Resolves to the answer, or to the signal that ended it. */
  tell(order: CacheOrder): Promise<unknown>
  kill(): Promise<void>
}

/** Starts a data access with a cache in a process of its own; resolves once it is open. */
export async function startCacheProcess(options: CacheProcessOptions): Promise<CacheProcess> {
  const script = fileURLToPath(new URL('cache-in-child.ts', import.meta.url))
  const child = fork(script, [JSON.stringify(options)], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = once(child, 'exit').then(([, signal]) => signal as unknown)
  const answer = () => Promise.race([once(child, 'message').then(([message]) => message as unknown), ended])
  await answer()
  return {
    tell: (order) => {
      const answered = answer()
      child.send(order)
      return answered
    },
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}
