import { DataAccessError } from '../errors.ts'
import { maskPassword } from '../kernel/mask-password.ts'

const accepted = 'redis://user:password@host:6379/0, or rediss:// for TLS'

/**
 * Checks a Redis URL and returns it as it was given.
 *
 * @throws DataAccessError `REDIS_URL_INVALID` for another scheme, a URL that cannot be parsed, or a database that is no number.
 */
export function checkRedisUrl(url: string): string {
  if (typeof url !== 'string') {
    throw new DataAccessError('REDIS_URL_INVALID', `The Redis URL is of type ${typeof url}; give a string: ${accepted}`)
  }
  if (url === '') {
    const why = 'is empty, so the environment variable that holds it is probably set to nothing'
    throw new DataAccessError('REDIS_URL_INVALID', `The Redis URL ${why}; give ${accepted}`)
  }
  const refuse = (why: string) =>
    new DataAccessError('REDIS_URL_INVALID', `The Redis URL ${maskPassword(url)} ${why}; give ${accepted}`)
  if (!URL.canParse(url))
    throw refuse('cannot be read: correct host and port, or percent-encode what is special in its password, such as / as %2F')
  const { protocol, hostname, pathname } = new URL(url)
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw refuse(`has the scheme ${protocol}`)
  if (hostname === '') throw refuse('names no host')
  if (!/^(\/\d*)?$/.test(pathname)) throw refuse(`names the database ${pathname.slice(1)}, which is no number`)
  return url
}
