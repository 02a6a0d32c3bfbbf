import { type SpawnOptions, spawn } from 'node:child_process'
import { delimiter, dirname, join } from 'node:path'

export const repository = join(import.meta.dirname, '../..')

/** What a program printed, and how it ended. */
export interface ProgramResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end, with the Node of this process first on PATH and none of npm's settings of this run. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { cwd: string; env?: Readonly<Record<string, string | undefined>>; timeoutMs?: number },
): Promise<ProgramResult> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|vitest|NODE_ENV$|NODE_OPTIONS$|DATABASE_URL$|REDIS_URL$)/i.test(name),
  )
  const env = {
    ...Object.fromEntries(inherited),
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    NO_COLOR: '1',
    ...options.env,
  }
  const settings: SpawnOptions = {
    cwd: options.cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 120_000,
  }
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, settings)
    const output = { stdout: '', stderr: '' }
    child.stdout?.on('data', (chunk) => (output.stdout += chunk))
    child.stderr?.on('data', (chunk) => (output.stderr += chunk))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (signal) output.stderr += `\nended by ${signal}`
      resolve({ code: code ?? 1, ...output })
    })
  })
}

/** Runs a program that must end well, and gives what it printed. */
export async function runWell(...call: Parameters<typeof runProgram>): Promise<string> {
  const { code, stdout, stderr } = await runProgram(...call)
  if (code !== 0) throw new Error(`${call[0]} ${call[1].join(' ')} ended with ${code}:\n${stdout}\n${stderr}`)
  return stdout
}
