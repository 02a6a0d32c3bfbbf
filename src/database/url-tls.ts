import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { getCACertificates } from 'node:tls'
import { describeValue } from '../kernel/options.ts'

/** The parameters of a URL that say how to encrypt. */
export const tlsParameters = ['sslmode', 'ssl', 'sslrootcert', 'sslcert', 'sslkey', 'sslnegotiation', 'uselibpqcompat'] as const
export type TlsParameter = (typeof tlsParameters)[number]

/** What `pg` takes as `ssl`: what Node's `tls.connect()` takes, or `false` for plain text. */
export type TlsSettings = false | Readonly<Record<string, unknown>>

/** Makes the error that says what is wrong with a parameter. */
type Refuse = (parameter: TlsParameter, why: string) => Error

const modes = ['disable', 'no-verify', 'require', 'verify-ca', 'verify-full'] as const
type Mode = (typeof modes)[number]

/** What `pg` means by `ssl`: `true` checks the certificate, as libpq's `verify-full` does. */
const modeOfSsl: Readonly<Record<string, Mode>> = {
  true: 'verify-full',
  1: 'verify-full',
  false: 'disable',
  0: 'disable',
  'no-verify': 'no-verify',
}

/**
 * Reads how to encrypt, with libpq's meanings: `require` encrypts, `verify-ca` also checks who signed the certificate, and
 * `verify-full` also its host name. Nothing comes of a URL that says nothing of it.
 *
 * @param host what the certificate must name.
 */
export function tlsOf(given: ReadonlyMap<string, string>, host: string, refuse: Refuse): Readonly<Record<string, unknown>> {
  const mode = modeOf(given, refuse)
  checkCompat(given.get('uselibpqcompat'), refuse)
  const settings = mode === undefined ? {} : { ssl: settingsOf(mode, given, host, refuse) }
  const negotiation = given.get('sslnegotiation')
  if (negotiation === undefined) return settings
  if (negotiation !== 'direct' && negotiation !== 'postgres') {
    throw refuse('sslnegotiation', `is ${describeValue(negotiation)}; give postgres or direct`)
  }
  if (negotiation === 'direct' && !('ssl' in settings && settings.ssl)) {
    throw refuse('sslnegotiation', 'is direct, which goes with sslmode=require, verify-ca or verify-full; give one of them')
  }
  return { ...settings, sslnegotiation: negotiation }
}

function modeOf(given: ReadonlyMap<string, string>, refuse: Refuse): Mode | undefined {
  const [ssl, sslmode] = [given.get('ssl'), given.get('sslmode')]
  const bySsl = ssl === undefined ? undefined : Object.hasOwn(modeOfSsl, ssl) ? modeOfSsl[ssl] : undefined
  if (ssl !== undefined && bySsl === undefined) {
    throw refuse('ssl', `is ${describeValue(ssl)}; give true or false, or in its place sslmode=${modes.join(', ')}`)
  }
  if (sslmode === 'prefer' || sslmode === 'allow') {
    const why = `is ${sslmode}, with which a connection may fall back to plain text, and the driver cannot`
    throw refuse('sslmode', `${why}; give require or verify-full to encrypt, or disable`)
  }
  const mode = modes.find((each) => each === sslmode)
  if (sslmode !== undefined && mode === undefined) {
    throw refuse('sslmode', `is ${describeValue(sslmode)}; give ${modes.join(', ')}`)
  }
  if (mode !== undefined && bySsl !== undefined && (mode === 'disable') !== (bySsl === 'disable')) {
    throw refuse('ssl', `is ${ssl}, and sslmode is ${mode}; give sslmode alone`)
  }
  // A file that is named for the check of a certificate asks for the check.
  const named = ['sslrootcert', 'sslcert', 'sslkey'].some((file) => given.has(file))
  return mode ?? bySsl ?? (named ? 'verify-full' : undefined)
}

/** Libpq's meanings are the ones that hold here. */
function checkCompat(value: string | undefined, refuse: Refuse): void {
  if (value === undefined || value === 'true') return
  throw refuse('uselibpqcompat', `is ${describeValue(value)}, and sslmode has libpq's meanings here; give true, or leave it out`)
}

function settingsOf(mode: Mode, given: ReadonlyMap<string, string>, host: string, refuse: Refuse): TlsSettings {
  if (mode === 'disable') return false
  const read = (parameter: TlsParameter) => readPem(parameter, given.get(parameter), refuse)
  const [cert, key] = [read('sslcert'), read('sslkey')]
  if ((cert === undefined) !== (key === undefined)) {
    const [there, missing] = key === undefined ? (['sslcert', 'sslkey'] as const) : (['sslkey', 'sslcert'] as const)
    throw refuse(there, `is there without ${missing}; give both, or none`)
  }
  const client = cert === undefined ? {} : { cert, key }
  const root = given.get('sslrootcert')
  if (root === 'system' && mode !== 'verify-full') {
    throw refuse(
      'sslrootcert',
      'is system, whose authorities sign for everybody, so that only sslmode=verify-full is safe; give that',
    )
  }
  if (mode === 'verify-ca' && root === undefined) {
    throw refuse('sslmode', 'is verify-ca, which needs sslrootcert, the file of the authority; give that, or verify-full')
  }
  if (mode === 'no-verify' || (mode === 'require' && root === undefined)) return { ...client, rejectUnauthorized: false }
  const trusted = root === undefined ? {} : { ca: root === 'system' ? getCACertificates('system') : read('sslrootcert') }
  // As in libpq, `require` with an authority checks that it signed, and no host name.
  if (mode !== 'verify-full') return { ...client, ...trusted, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  // Node would check the name `localhost` for an address: pg names none to it.
  return { ...client, ...trusted, rejectUnauthorized: true, ...(isIP(host) === 0 ? {} : { host }) }
}

function readPem(parameter: TlsParameter, path: string | undefined, refuse: Refuse): string | undefined {
  if (path === undefined) return undefined
  let content: string
  try {
    content = readFileSync(path, 'utf8')
  } catch (error) {
    throw refuse(
      parameter,
      `names the file ${path}, which cannot be read (${(error as NodeJS.ErrnoException).code}); correct the path`,
    )
  }
  if (/-----BEGIN [A-Z ]+-----/.test(content)) return content
  throw refuse(parameter, `names the file ${path}, which is no PEM file; give one with -----BEGIN in it`)
}
