import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A process that answers one order after the other. */
export interface AskedProcess<Order> {
  /** Resolves to the answer, or to the signal that ended it. */
  tell(order: Order): Promise<unknown>
  kill(): Promise<void>
}

/** Starts a program of this folder; resolves once it has told that it is ready. */
export async function startAskedProcess<Order extends object>(program: string, options: object): Promise<AskedProcess<Order>> {
  const script = fileURLToPath(new URL(program, import.meta.url))
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
