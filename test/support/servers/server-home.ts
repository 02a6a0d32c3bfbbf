import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The user that a server runs as, as `spawn` takes it. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** The temporary folder of the servers of one run, with a data folder for each. */
export class ServerHome {
  readonly path = mkdtempSync(join(tmpdir(), 'data-access-servers-'))

  constructor() {
    chmodSync(this.path, 0o755)
  }

  /** Makes an empty folder that belongs to `account`, or to this user. */
  folder(name: string, account?: Account): string {
    const path = join(this.path, name)
    rmSync(path, { recursive: true, force: true })
    mkdirSync(path, { mode: 0o700 })
    if (account) chownSync(path, account.uid, account.gid)
    return path
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** The account for a server that refuses to run as root: undefined when this process is not root. */
export function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8').split('\n') : []
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((line) => line.startsWith(`${name}:`))?.split(':') ?? []
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error('PostgreSQL refuses to run as root, and there is no user "postgres" or "nobody": add one, or set DATABASE_URL')
}
