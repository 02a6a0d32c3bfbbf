import { expect, test } from 'vitest'
import { stableText } from '../support/stable-text.ts'

test.each([
  ['user 0199c0de-7a11-7000-8000-00000000abcd at 2026-01-02T03:04:05.678Z', 'user <id> at <time>'],
  ['postgres://a:b@127.0.0.1:5432/x and redis://127.0.0.1:6379', '<postgres url> and <redis url>'],
  ['lazy 11 queries, 12.34 ms, 3.4× slower', 'lazy 11 queries, <n> ms, <n>× slower'],
  ['Θ = 1,234.5 req/s with 16 at once', 'Θ = <n> req/s with 16 at once'],
  ['\u001b[32mok\u001b[39m  H = 0.75', 'ok H = 0.75'],
  ['a\rb 10%\rc 100%\r\n', 'c 100%'],
])('of %j stays %j', (output, stable) => {
  expect(stableText(output)).toBe(`${stable}\n`)
})
