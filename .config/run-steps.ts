import { spawn } from 'node:child_process'

/** One command of a longer run. */
export interface Step {
  readonly name: string
  /** Program and arguments; the programs of node_modules/.bin are found by name, since npm puts them on PATH. */
  readonly command: readonly [string, ...string[]]
  /** Shows the output while it comes; otherwise it is shown only when the step fails. */
  readonly show?: boolean
}

/** How many steps run at once: the tools use one core each, most of the time. */
const atOnce = 2

/** Runs all steps, says for each how it went, and gives the names of those that failed. Steps that show come last, alone. */
export async function runSteps(title: string, steps: readonly Step[]): Promise<readonly string[]> {
  const failed: string[] = []
  let finished = 0
  const finish = async (step: Step) => {
    const started = performance.now()
    const { code, output } = await run(step)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    finished += 1
    if (code !== 0) failed.push(step.name)
    if (code !== 0 && output) console.log(output.trimEnd())
    const outcome = code === 0 ? 'ok' : `FAILED (exit code ${code}, ${step.command.join(' ')})`
    // What a shown step said last, such as the figures of the tests, stays the last word when it went well.
    if (!step.show || code !== 0) console.log(`${title} ${finished}/${steps.length} ${step.name}: ${outcome}, ${seconds} s`)
  }

  const quiet = steps.filter((step) => !step.show)
  const takeTurns = async () => {
    for (let step = quiet.shift(); step; step = quiet.shift()) await finish(step)
  }
  await Promise.all(Array.from({ length: atOnce }, takeTurns))
  for (const step of steps.filter((step) => step.show)) await finish(step)
  return failed
}

function run(step: Step): Promise<{ code: number; output: string }> {
  const [program, ...args] = step.command
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', step.show ? 'inherit' : 'pipe', step.show ? 'inherit' : 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output }))
  })
}
