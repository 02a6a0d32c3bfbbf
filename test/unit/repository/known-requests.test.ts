import { expect, test } from 'vitest'
import { KnownRequests } from '../../../src/repository/known-requests.ts'

const request = (key: string) => ({ key, stamps: [], version: '1', keepMs: 1, staleMs: 0, probe: 0 })

test('an id and a text that looks like it are asked for apart', () => {
  const requests = new KnownRequests()
  requests.keep(1, request('number'))
  requests.keep('1', request('text'))
  expect([requests.get(1)?.key, requests.get('1')?.key]).toEqual(['number', 'text'])
})

test('what is an object is not kept: it can become the id of another row', () => {
  const requests = new KnownRequests()
  const id = new Date(1)
  requests.keep(id, request('first'))
  id.setTime(2)
  expect(requests.get(id)).toBeUndefined()
})

test('it is bounded however many rows are read', () => {
  const requests = new KnownRequests()
  const ids = Array.from({ length: 25_000 }, (_, id) => id)
  for (const id of ids) requests.keep(id, request(String(id)))
  expect(requests.get(24_999)?.key).toBe('24999')
  expect(ids.filter((id) => requests.get(id) !== undefined).length).toBeLessThanOrEqual(10_000)
})

test('a long text is not kept, which is no id that would be asked for often', () => {
  const requests = new KnownRequests()
  const ids = ['x'.repeat(100), 'x'.repeat(101)]
  for (const id of ids) requests.keep(id, request('known'))
  expect(ids.map((id) => requests.get(id)?.key)).toEqual(['known', undefined])
})
