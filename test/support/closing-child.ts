import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A process that closes when it is told to. */
export interface ClosingChild {
  /** Tells it, and resolves to its exit code and signal. */
  end(): Promise<readonly [code: number | null, signal: NodeJS.Signals | null]>
  /** Kills it. */
  close(): Promise<void>
}

/** Starts a program of this folder on a database; resolves once it is in the middle of what it does. */
export async function startClosingChild(program: string, whose: string, url: string): Promise<ClosingChild> {
  const script = fileURLToPath(new URL(program, import.meta.url))
  const child: ChildProcess = fork(script, [whose, url], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  await once(child, 'message')
  return {
    end: () => {
      child.send('close')
      return ended
    },
    close: async () => void child.kill('SIGKILL'),
  }
}
