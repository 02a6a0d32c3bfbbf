import { DataAccessError } from '../errors.ts'
import { nearestName } from '../kernel/nearest-name.ts'
import { describeValue } from '../kernel/options.ts'
import { tlsOf, tlsParameters } from './url-tls.ts'

/** What the parameters of a PostgreSQL URL ask for: those behind its `?`. */
export interface UrlSettings {
  /** What MikroORM takes in place of what stands in the URL itself. */
  readonly address: Readonly<{ host?: string; port?: number; user?: string; password?: string }>
  /** What `pg` takes. */
  readonly driverOptions: Readonly<Record<string, unknown>>
}

/** A parameter that is honoured. */
interface Parameter {
  /** What it takes, in words that follow "give". */
  readonly words: string
  /** What comes of a value; `undefined` refuses it. */
  read(value: string): Readonly<Record<string, unknown>> | undefined
}

const text = (option: string): Parameter => ({ words: 'a text', read: (value) => ({ [option]: value }) })

const whole = (option: string, unit: 'seconds' | 'milliseconds'): Parameter => ({
  words: `a whole number of ${unit}`,
  read: (value) => {
    const ms = /^\d+$/.test(value) ? Number(value) * (unit === 'seconds' ? 1000 : 1) : Number.NaN
    return ms <= 2_147_483_647 ? { [option]: ms } : undefined
  },
})

const choice = (option: string, values: Readonly<Record<string, boolean>>, words: string): Parameter => ({
  words,
  read: (value) => (Object.hasOwn(values, value) ? { [option]: values[value] } : undefined),
})

const addressParameters: Readonly<Record<keyof UrlSettings['address'], Parameter>> = {
  host: text('host'),
  port: {
    words: 'a whole number from 1 to 65535',
    read: (value) => (/^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535 ? { port: Number(value) } : undefined),
  },
  user: text('user'),
  password: text('password'),
}

/** What `pg` has an option for, by libpq's name or its own. */
const driverParameters: Readonly<Record<string, Parameter>> = {
  application_name: text('application_name'),
  fallback_application_name: text('fallback_application_name'),
  options: text('options'),
  connect_timeout: whole('connectionTimeoutMillis', 'seconds'),
  statement_timeout: whole('statement_timeout', 'milliseconds'),
  lock_timeout: whole('lock_timeout', 'milliseconds'),
  idle_in_transaction_session_timeout: whole('idle_in_transaction_session_timeout', 'milliseconds'),
  query_timeout: whole('query_timeout', 'milliseconds'),
  keepalives: choice('keepAlive', { 0: false, 1: true }, '0 or 1'),
  keepalives_idle: whole('keepAliveInitialDelayMillis', 'seconds'),
  channel_binding: choice(
    'enableChannelBinding',
    { disable: false, prefer: true },
    'prefer, or leave it out: the driver binds the channel where the server offers it, and cannot insist; sslmode=verify-full makes sure of the server',
  ),
  // pg speaks nothing else, and has no other encryption than TLS.
  gssencmode: { words: 'disable', read: (value) => (value === 'disable' ? {} : undefined) },
  client_encoding: { words: 'UTF8', read: (value) => (/^utf-?8$/i.test(value) ? {} : undefined) },
}

const searchPath = 'for a schema write options=-c%20search_path%3Dname'
/** What other libraries read from a URL, and where it stands here. */
const elsewhere: Readonly<Record<string, string>> = {
  schema: searchPath,
  currentSchema: searchPath,
  search_path: searchPath,
  connection_limit: 'give database.pool.max',
  pool_timeout: 'give database.pool.acquireTimeoutMs',
  supa: 'leave it out, it tells Supabase where the URL was copied',
  target_session_attrs: 'leave it out, and name the primary as host',
  keepalives_interval: 'leave it out, the system decides; keepalives_idle is taken',
  keepalives_count: 'leave it out, the system decides; keepalives_idle is taken',
  sslaccept: 'give sslmode=verify-full for strict, sslmode=require for accept_invalid_certs',
  socket_timeout: 'give database.statementTimeoutMs',
  pgbouncer: 'leave it out, everything works behind a pooler as it does without',
  database: 'the name stands at the end of the path, postgres://host/name',
  dbname: 'the name stands at the end of the path, postgres://host/name',
}

const known = [...tlsParameters, ...Object.keys(driverParameters), ...Object.keys(addressParameters)]

/**
 * Reads the parameters of a PostgreSQL URL, which MikroORM would drop without a word.
 *
 * @throws DataAccessError `DATABASE_URL_INVALID` for a parameter or a value that would not be honoured.
 */
export function settingsOfUrl(target: string, printable: string): UrlSettings {
  const url = new URL(target)
  const refuse = (parameter: string, why: string) =>
    new DataAccessError('DATABASE_URL_INVALID', `The database URL ${printable}: ${parameter} ${why}`, { context: { parameter } })
  if (url.hash !== '') throw refuse('#', 'begins a part that says nothing here; percent-encode it as %23')
  const given = new Map<string, string>()
  for (const [name, value] of url.searchParams) {
    if (!known.includes(name)) throw unknownParameter(name, refuse)
    if (given.has(name)) throw refuse(name, 'stands there twice; give it once')
    given.set(name, value)
  }
  const read = (parameters: Readonly<Record<string, Parameter>>) => {
    const settings: Record<string, unknown> = {}
    for (const [name, parameter] of Object.entries(parameters)) {
      const value = given.get(name)
      if (value === undefined) continue
      const setting = parameter.read(value)
      if (setting === undefined) throw refuse(name, `is ${describeValue(value)}; give ${parameter.words}`)
      Object.assign(settings, setting)
    }
    return settings
  }
  // Node takes an IPv6 address without the brackets.
  const hostname = url.hostname.replace(/^\[(.+)\]$/, '$1')
  const address: UrlSettings['address'] = { ...(hostname === url.hostname ? {} : { host: hostname }), ...read(addressParameters) }
  return { address, driverOptions: { ...read(driverParameters), ...tlsOf(given, address.host ?? hostname, refuse) } }
}

function unknownParameter(name: string, refuse: (parameter: string, why: string) => DataAccessError): DataAccessError {
  if (Object.hasOwn(elsewhere, name)) return refuse(name, `is no parameter of it: ${elsewhere[name]}`)
  const near = nearestName(name, known)
  return refuse(name, `is not known${near === undefined ? '.' : `; did you mean ${near}?`} It takes ${known.join(', ')}`)
}
