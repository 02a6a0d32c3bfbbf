import { describe, expect, test } from 'vitest'
import { parseDatabaseUrl } from '../../../src/database/database-url.ts'
import { maskPassword } from '../../../src/kernel/mask-password.ts'
import { checkRedisUrl } from '../../../src/redis/redis-url.ts'

describe('the password of a URL is not printed', () => {
  test.each([
    ['postgres://alex:s3cret@host:5432/name', 'postgres://alex:***@host:5432/name'],
    ['redis://alex:s3c:r@et@host:6379', 'redis://alex:***@host:6379'],
    ['redis://:s3cret@host', 'redis://:***@host'],
    ['postgres://alex:s3\ncret@host/name', 'postgres://alex:***@host/name'],
    ['postgres:alex:s3cret@host/name', 'postgres:***@host/name'],
    ['postgres:/alex:s3cret@host/name', 'postgres:***@host/name'],
    ['alex:s3cret@host/name', 'alex:***@host/name'],
    ['"postgres://alex:s3cret@host/name"', '"postgres:***@host/name"'],
    [' postgres://alex:s3cret@host/name', ' postgres:***@host/name'],
    ['jdbc:postgresql://alex:s3cret@host/name', 'jdbc:***@host/name'],
    [
      'postgres://host/name?user=alex&password=s3cret&sslpassword=s3cret2',
      'postgres://host/name?user=alex&password=***&sslpassword=***',
    ],
    ['sqlite:name.db?password=s3cret', 'sqlite:name.db?password=***'],
    ['could not reach postgres://alex:s3cret@host', 'could not reach postgres:***@host'],
    ['postgres://alex@host:5432/name', 'postgres://alex@host:5432/name'],
    ['postgres://host:5432/name', 'postgres://host:5432/name'],
    ['connect ECONNREFUSED 127.0.0.1:5432', 'connect ECONNREFUSED 127.0.0.1:5432'],
  ])('%j', (url, printed) => {
    expect(maskPassword(url)).toBe(printed)
    for (const read of [parseDatabaseUrl, checkRedisUrl]) {
      try {
        expect(JSON.stringify((read(url) as { printable?: string }).printable ?? '')).not.toContain('s3')
      } catch (error) {
        expect((error as Error).message).not.toContain('s3')
      }
    }
  })

  test.each([
    ['"postgres://alex@host/name"', 'quotation mark or white space'],
    [' postgres://alex@host/name', 'quotation mark or white space'],
    ['postgres://alex@host/na\nme', 'quotation mark or white space'],
    ['postgres:alex@host/name', 'scheme or form is not known'],
    ['postgres:/alex@host/name', 'scheme or form is not known'],
  ])('and %j is refused before anybody is asked for it', (url, words) => {
    expect(() => parseDatabaseUrl(url)).toThrow(words)
  })
})
