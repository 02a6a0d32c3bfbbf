import { expect, test } from 'vitest'
import { checkRedisUrl } from '../../src/redis/redis-url.ts'

test.each(['redis://localhost', 'redis://:secret@cache:6380/2', 'rediss://user:pass@host:6379/'])('%s is accepted', (url) => {
  expect(checkRedisUrl(url)).toBe(url)
})

test.each([
  ['http://host', 'scheme http:'],
  ['localhost:6379', 'scheme localhost:'],
  ['', 'probably set to nothing'],
  ['redis://host/main', 'no number'],
  ['redis://', 'names no host'],
  ['redis://me:a/b@host:6379', 'percent-encode'],
])('%j is refused and told why', (url, why) => {
  expect(() => checkRedisUrl(url)).toThrow(
    expect.objectContaining({ code: 'REDIS_URL_INVALID', message: expect.stringContaining(why) }),
  )
})

test('a password never shows, not even in a URL that cannot be parsed', () => {
  expect(() => checkRedisUrl('redis://alex:hunter2@host:notaport')).toThrow(/^(?!.*hunter2)/s)
})
