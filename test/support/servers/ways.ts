import type { StartedServer } from './server-process.ts'

const wayNames = ['system', 'npm', 'apt'] as const
type WayName = (typeof wayNames)[number]
/** A started server, with the program that it is, or the folder of its programs. */
export type Started = StartedServer & { readonly from: string }

const said: Readonly<Record<WayName, string>> = {
  system: 'by the programs of this system',
  npm: 'by the programs of an npm package',
  apt: 'by what apt-get installed',
}

/**
 * Tries the ways in their order, and gives the first server that started; a way that does not exist here gives undefined.
 * `TEST_SERVER_WAYS` (such as `npm` or `npm,apt`) leaves others out, so that each way can be tried on one machine.
 */
export async function firstWay(
  server: string,
  cure: string,
  print: (line: string) => void,
  ways: Readonly<Partial<Record<WayName, () => Promise<Started | undefined>>>>,
): Promise<Started> {
  const allowed = process.env.TEST_SERVER_WAYS?.split(',') ?? wayNames
  const failures: string[] = []
  for (const [name, start] of Object.entries(ways) as [WayName, () => Promise<Started | undefined>][]) {
    if (!allowed.includes(name)) continue
    try {
      const started = await start()
      if (started) {
        print(`${server}: ${said[name]} (${started.from}), private, at ${new URL(started.url).host}`)
        return started
      }
    } catch (error) {
      failures.push(`${said[name]}: ${error instanceof Error ? error.message : error}`)
    }
  }
  throw new Error([`No ${server} for the tests: ${cure}.`, ...failures].join('\n  '))
}
