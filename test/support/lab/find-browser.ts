import { existsSync } from 'node:fs'
import { aptInstall, canAptInstall } from '../servers/apt-install.ts'

/** The Chromium of this system: its program, or the channel by which playwright finds an installed Chrome or Edge. */
export type FoundBrowser = { readonly executablePath: string } | { readonly channel: string }

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/snap/bin/chromium']

/**
 * Finds a Chromium; as root on Debian installs it where it is missing.
 *
 * @throws Error that says what to install.
 */
export async function findBrowser(print: (line: string) => void): Promise<FoundBrowser> {
  if (process.platform === 'darwin') return { channel: 'chrome' }
  if (process.platform === 'win32') return { channel: 'msedge' } // part of every Windows
  const found = installed()
  if (found !== undefined) return { executablePath: found }
  if (canAptInstall()) {
    await aptInstall(['chromium'], (line) => print(`Chromium for the tests of the lab: ${line}`))
    const fresh = installed()
    if (fresh !== undefined) return { executablePath: fresh }
  }
  throw new Error(
    `No Chromium for the tests of the lab, looked for at ${places.join(', ')}: install it, such as by apt-get install chromium`,
  )
}

function installed(): string | undefined {
  return places.find((place) => existsSync(place))
}
