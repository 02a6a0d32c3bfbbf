import { findPrograms } from './find-program.ts'
import { runToEnd } from './server-process.ts'

/** Whether this is root on Debian or Ubuntu: a container or a CI machine, where packages may be installed. */
export function canAptInstall(): boolean {
  return process.getuid?.() === 0 && findPrograms(['apt-get'], ['/usr/bin']) !== undefined
}

/** Installs Debian packages without questions, and leaves alone what is there. */
export async function aptInstall(packages: readonly string[], print: (line: string) => void): Promise<void> {
  // One at a time: apt holds a lock, and both servers may be missing.
  installing = installing.then(async () => {
    print(`installing ${packages.join(', ')} by apt-get (as root) …`)
    const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
    await runToEnd({ program: 'apt-get', args: ['update', '-qq'], cwd: '/', env })
    await runToEnd({
      program: 'apt-get',
      args: ['install', '-y', '-qq', '--no-upgrade', '--no-install-recommends', ...packages],
      cwd: '/',
      env,
    })
  })
  await installing
}

let installing: Promise<void> = Promise.resolve()
