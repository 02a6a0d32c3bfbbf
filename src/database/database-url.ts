import type { Connection } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { maskPassword } from '../kernel/mask-password.ts'
import type { Dialect } from './sql.ts'

/** Where a database is, read from its URL. */
export interface DatabaseAddress {
  readonly dialect: Dialect
  /** For SQLite a file's path or `:memory:`; for PostgreSQL the URL as given. */
  readonly target: string
  /** Safe to print: the password is masked. */
  readonly printable: string
}

/** Where a PostgreSQL is that an ORM is connected to. */
export function addressOf(connection: Connection): DatabaseAddress {
  const { user, host, port, database, password } = connection.getConnectionOptions()
  const printable = `postgres://${user ? `${user}${password ? ':***' : ''}@` : ''}${host}${port ? `:${port}` : ''}/${database}`
  return { dialect: 'postgresql', target: printable, printable }
}

const accepted = 'postgres://user@host:5432/name, postgresql://…, sqlite:path/to/file.db, file:path/to/file.db, or :memory:'

/**
 * Reads a database URL. Without one the database is SQLite in memory.
 *
 * @throws DataAccessError `DATABASE_URL_INVALID` for a scheme it does not know or a URL that cannot be parsed.
 */
export function parseDatabaseUrl(url: string | undefined): DatabaseAddress {
  if (url !== undefined && typeof url !== 'string') {
    throw new DataAccessError('DATABASE_URL_INVALID', `The database URL is of type ${typeof url}; give a string: ${accepted}`)
  }
  if (url === undefined || url === ':memory:' || /^(sqlite|file):(\/\/)?:memory:$/.test(url)) {
    return { dialect: 'sqlite', target: ':memory:', printable: 'SQLite in memory' }
  }
  if (!isEncoded(url)) {
    throw new DataAccessError('DATABASE_URL_INVALID', `The database URL ${maskPassword(url)} ${unencoded}`)
  }
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === 'sqlite' || scheme === 'file') return sqliteFile(url)
  if ((scheme === 'postgres' || scheme === 'postgresql') && namesDatabase(url)) {
    const host = new URL(url).searchParams.get('host')
    // Its parameters tell little of where it is, and may hold secrets.
    const printable = maskPassword(url.replace(/[?#].*$/s, ''))
    return { dialect: 'postgresql', target: url, printable: host === null ? printable : `${printable} at ${host}` }
  }
  const what =
    url === ''
      ? 'is empty, so the environment variable that holds it is probably set to nothing'
      : /^[\s"']|\s/.test(url)
        ? `is ${maskPassword(url)}, with a quotation mark or white space that belongs to no URL; remove it, or percent-encode it`
        : `is ${maskPassword(url)}, whose ${scheme === undefined ? 'scheme is missing' : `scheme or form is not known`}`
  throw new DataAccessError('DATABASE_URL_INVALID', `The database URL ${what}; give ${accepted}`)
}

const unencoded =
  'cannot be read: correct host and port, or percent-encode what is special in user, password and path: / as %2F, # as %23, ? as %3F, % as %25'

/** False for a password such as `a/b` or `a%b`, with which a URL says something else or nothing. */
function isEncoded(url: string): boolean {
  try {
    decodeURIComponent(url)
    // With an authority, also what stands between `//` and `@` must be one.
    return !/^[a-z][a-z0-9+.-]*:\/\/[^@]*@/i.test(url) || URL.canParse(url)
  } catch {
    return false
  }
}

/** MikroORM would take a name from elsewhere; a URL without one is more likely a mistake. */
function namesDatabase(url: string): boolean {
  return /^[a-z]+:\/\//i.test(url) && !/\s/.test(url) && URL.canParse(url) && new URL(url).pathname.length > 1
}

function sqliteFile(url: string): DatabaseAddress {
  // sqlite:relative.db, sqlite:/absolute.db, sqlite:///absolute.db and sqlite://relative.db are all in use.
  const path = decodeURIComponent(url.replace(/^(sqlite|file):(\/\/(?=\/))?(\/\/)?/i, ''))
  if (path.includes('?')) {
    throw new DataAccessError(
      'DATABASE_URL_INVALID',
      `The database URL ${maskPassword(url)} has a "?", and for SQLite a URL has no parameters; give ${accepted}, and what better-sqlite3 takes as database.driverOptions`,
    )
  }
  if (path === '') {
    throw new DataAccessError('DATABASE_URL_INVALID', `The database URL ${url} names no plain file; give ${accepted}`)
  }
  return { dialect: 'sqlite', target: path, printable: `SQLite file ${path}` }
}
