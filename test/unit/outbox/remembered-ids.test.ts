import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canRememberIds, rememberedIdsKey } from '../../../src/publishers/redis-streams/remembered-ids.ts'

// The rule of a cluster as its client knows it.
const slotOf: (key: string) => number = createRequire(createRequire(import.meta.url).resolve('ioredis'))('cluster-key-slot')

test('the ids of a stream are kept in its hash slot, whatever braces its name has', () => {
  const names = ['domain-events', '{a}b', 'x{a}b', 'a{b', '{', '{{', '}{x}', 'a}b{c}', '{{x}}', '{}{a', 'User:{', '{a', 'a{}{b}']
  for (const name of names.filter(canRememberIds)) expect([name, slotOf(rememberedIdsKey(name))]).toEqual([name, slotOf(name)])
  const braces = fc.string({ unit: fc.constantFrom('{', '}', 'a', 'é'), minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(braces.filter(canRememberIds), (name) => {
      expect(slotOf(rememberedIdsKey(name))).toBe(slotOf(name))
    }),
  )
})

test('refused is only a closing brace without a tag', () => {
  const refused = ['a{}b', 'a}b', '{}', 'orders:}', '}', 'a{}{b}', 'a}b{']
  expect(refused.filter(canRememberIds)).toEqual([])
  for (const name of ['domain-events', '{a}b', 'a}b{c}', 'a{b', '{{x}}', 'orders:{eu}}'])
    expect([name, canRememberIds(name)]).toEqual([name, true])
})
