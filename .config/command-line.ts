import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'

/** Ends the process with the usage of a command when that is what was asked for. For commands that hand their options on. */
export function offerHelp(usage: string): void {
  if (!process.argv.slice(2).includes('--help')) return
  console.log(usage)
  process.exit(0)
}

/** What a command was told; ends the process with the usage when it asked for help, or was told what it does not know. */
export function readCommandLine<const Options extends ParseArgsOptionsConfig>(
  usage: string,
  options: Options,
  allowPositionals = false,
) {
  offerHelp(usage)
  try {
    return parseArgs({ options, allowPositionals })
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`)
    process.exit(2)
  }
}
