import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import type { Account } from './server-home.ts'

/** A server that was started here, by its own process id. */
export interface StartedServer {
  readonly url: string
  /** Ends the server and waits until it is gone. */
  stop(): Promise<void>
}

export interface ServerCommand {
  readonly program: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly account?: Account | undefined
  readonly env?: Readonly<Record<string, string>>
  /** The server is up when a line of its output contains this. */
  readonly readyWhen: string
  /** Asks for a fast and orderly end. */
  readonly stopSignal: NodeJS.Signals
}

const startLimitMs = 60_000
const stopLimitMs = 10_000

/** Starts a server program and waits until it says that it is ready; a failure carries the end of its output. */
export async function runServer(command: ServerCommand): Promise<{ stop(): Promise<void> }> {
  const child = spawn(command.program, command.args, {
    cwd: command.cwd,
    env: { ...process.env, LC_ALL: 'C', ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...command.account,
  })
  await ready(child, command)
  return { stop: () => stop(child, command.stopSignal) }
}

/** Runs a program to its end, and gives its output; a failure carries it too. */
export async function runToEnd(command: Pick<ServerCommand, 'program' | 'args' | 'cwd' | 'account' | 'env'>): Promise<string> {
  const child = spawn(command.program, command.args, {
    cwd: command.cwd,
    env: { ...process.env, LC_ALL: 'C', ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...command.account,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`${command.program} ${command.args.join(' ')} ended with ${code}: ${lastLines(output)}`)
  return output
}

/** A port of 127.0.0.1 on which nobody listens now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('the system gave no free port of 127.0.0.1')
  return address.port
}

function ready(child: ChildProcess, command: ServerCommand): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    const limit = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`was not ready after ${startLimitMs / 1000} s`)
    }, startLimitMs)
    const fail = (what: string) => {
      clearTimeout(limit)
      reject(new Error(`${command.program} ${what}: ${lastLines(output)}`))
    }
    child.once('error', (error) => fail(`did not start (${error.message})`))
    child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`))
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        // Keep reading for ever: a server whose pipe is full would stand still. Keep only what an error message needs.
        output = (output + chunk).slice(-4000)
        if (!output.includes(command.readyWhen)) return
        clearTimeout(limit)
        resolve()
      })
    }
  })
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill(signal)
  const limit = setTimeout(() => child.kill('SIGKILL'), stopLimitMs)
  await gone
  clearTimeout(limit)
}

function lastLines(output: string): string {
  return output.trim().split('\n').slice(-6).join('\n') || 'no output'
}
