import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/kernel/logger.ts'
import { publishToAll } from '../../../src/outbox/publishing/publish-to-all.ts'
import {
  notBegun,
  type OutboxEvent,
  type Outcome,
  type Publisher,
  type PublishFault,
  permanent,
  unavailable,
} from '../../../src/outbox/publishing/publisher.ts'
import { MemoryPublisher } from '../../../src/testing/memory-publisher.ts'
import { contractEvent } from '../../../src/testing/publisher-contract.ts'

const context = { signal: new AbortController().signal }
const [a, b] = [contractEvent(), contractEvent()]
const failure = (status: PublishFault): Outcome => ({ status, error: new Error(status) })
const answering = (outcome: Outcome): Publisher => ({ name: 'p', publish: async (events) => events.map(() => outcome) })
const ids = ({ published }: MemoryPublisher) => published.map(({ id }) => id)

describe('publishing to all of several', () => {
  test('is published once all have it, and else as bad as the worst of them', async () => {
    const [published, retryable, never, away] = [
      { status: 'published' } as const,
      failure('retryable'),
      failure('permanent'),
      failure('unavailable'),
    ]
    const worst = async (...outcomes: Outcome[]) =>
      (await publishToAll('all', outcomes.map(answering)).publish([a], context))[0] as Outcome
    expect(await worst(published, published)).toEqual(published)
    expect(await worst(published, never)).toEqual(never)
    // The other one may still get it.
    expect(await worst(never, retryable)).toEqual(retryable)
    expect(await worst(retryable, away)).toEqual(away)
    // What was not begun is no failure, but an outage is one also then.
    expect(await worst(retryable, notBegun)).toBe(notBegun)
    expect(await worst(notBegun, away)).toEqual(away)
    // Of two the one that asks for the longer wait.
    const patient = { ...away, afterMs: 5000 } as Outcome
    for (const outcomes of [
      [away, patient],
      [patient, away],
      [patient, { ...away, afterMs: 1 } as Outcome],
    ]) {
      expect(await worst(...outcomes)).toEqual(patient)
    }
    // What is no number of milliseconds asks for nothing, and of what is more than counts the first stays.
    const [nothing, forEver] = [Number.NaN, Number.POSITIVE_INFINITY].map((afterMs) => ({ ...away, afterMs }) as Outcome)
    for (const outcomes of [
      [nothing, patient],
      [patient, nothing],
    ] as Outcome[][]) {
      expect(await worst(...outcomes)).toEqual(patient)
    }
    for (const outcomes of [
      [forEver, nothing, patient],
      [patient, nothing, forEver],
      [forEver, { ...away, afterMs: 3_600_000 }],
    ] as Outcome[][]) {
      expect(await worst(...outcomes)).toEqual(forEver)
    }
  })

  test('one that has acknowledged an event does not get it again because of another', async () => {
    let fault: unknown = unavailable(new Error('away'))
    const well = new MemoryPublisher()
    const ill = new MemoryPublisher(({ id }) => (id === a.id ? fault : undefined))
    const publisher = publishToAll('all', [well, ill])
    const statuses = async (events: OutboxEvent[]) => (await publisher.publish(events, context)).map(({ status }) => status)
    expect(await statuses([a, b])).toEqual(['unavailable', 'published'])
    for (let probe = 0; probe < 3; probe++) expect(await statuses([a])).toEqual(['unavailable'])
    expect(ids(well)).toEqual([a.id, b.id])
    fault = undefined
    expect(await statuses([a])).toEqual(['published'])
    expect(ids(ill)).toEqual([b.id, a.id])
    expect(ids(well)).toEqual([a.id, b.id])
    // That comes from outside: a mark that was lost, or a redrive.
    expect(await statuses([a])).toEqual(['published'])
    expect(ids(well)).toEqual([a.id, b.id, a.id])
  })

  test('one that has acknowledged an event does not get it again because another never answers', async () => {
    const well = new MemoryPublisher()
    let hangs = true
    const hanging: Publisher = {
      name: 'hanging',
      publish: (events) =>
        hangs ? new Promise(() => {}) : Promise.resolve(events.map(() => ({ status: 'published' as const }))),
    }
    const publisher = publishToAll('all', [well, hanging])
    void publisher.publish([a], context)
    await expect.poll(() => ids(well)).toEqual([a.id])
    hangs = false
    expect(await publisher.publish([a], context)).toEqual([{ status: 'published' }])
    expect(ids(well)).toEqual([a.id])
  })

  test('one that has acknowledged an event does not get it again because another answers when nobody waits any more', async () => {
    const well = new MemoryPublisher()
    const gates: PromiseWithResolvers<void>[] = []
    const late: Publisher = {
      name: 'late',
      publish: async (events) => {
        const gate = Promise.withResolvers<void>()
        gates.push(gate)
        await gate.promise
        return events.map(() => ({ status: 'published' }))
      },
    }
    const publisher = publishToAll('all', [well, late])
    const abort = new AbortController()
    const first = publisher.publish([a], abort)
    await expect.poll(() => gates.length).toBe(1)
    abort.abort()
    // It comes again, and the answer to the first try arrives meanwhile.
    const second = publisher.publish([a], context)
    await expect.poll(() => gates.length).toBe(2)
    gates[0]?.resolve()
    await first
    const third = publisher.publish([a], context)
    gates[1]?.resolve()
    expect(await Promise.all([second, third])).toEqual([[{ status: 'published' }], [{ status: 'published' }]])
    expect(ids(well)).toEqual([a.id])
    expect(gates).toHaveLength(2)
  })

  test('a late refusal of one try forgets nothing of the next', async () => {
    const gates: PromiseWithResolvers<Outcome>[] = []
    const late: Publisher = {
      name: 'late',
      publish: async () => {
        const gate = Promise.withResolvers<Outcome>()
        gates.push(gate)
        return [await gate.promise]
      },
    }
    let fault: unknown = new Error('not now')
    const publisher = publishToAll('all', [late, (_: OutboxEvent) => (fault === undefined ? undefined : Promise.reject(fault))])
    const tries = [publisher.publish([a], context), publisher.publish([a], context)]
    await expect.poll(() => gates.length).toBe(2)
    gates[0]?.resolve(failure('retryable'))
    await tries[0]
    gates[1]?.resolve({ status: 'published' })
    expect((await tries[1])?.[0]?.status).toBe('retryable')
    fault = undefined
    const third = publisher.publish([a], context)
    await new Promise(setImmediate)
    gates[2]?.resolve({ status: 'published' })
    expect(await third).toEqual([{ status: 'published' }])
    expect(gates).toHaveLength(2)
  })

  test('events of a key that come again from an earlier one on come again to all, so that none ends on an old value', async () => {
    let fault: unknown = unavailable(new Error('away'))
    const [a1, a2, a3] = [contractEvent('a', 1), contractEvent('a', 2), contractEvent('a', 3)]
    const [b1, free] = [contractEvent('b', 1), contractEvent(null, 1)]
    const well = new MemoryPublisher()
    const publisher = publishToAll('all', [well, new MemoryPublisher(() => fault)])
    for (const event of [b1, free, a2, a3]) await publisher.publish([event], context)
    // The marks of what came before are undone, and the other destination is back.
    fault = undefined
    for (const event of [a1, a2, a3, b1, free]) await publisher.publish([event], context)
    expect(ids(well)).toEqual([b1, free, a2, a3, a1, a2, a3].map(({ id }) => id))
  })

  test('an answer that comes after its event has come again from an earlier one on is no reason to leave it out', async () => {
    const [a1, a2] = [contractEvent('a', 1), contractEvent('a', 2)]
    const seen: string[] = []
    const gate = Promise.withResolvers<void>()
    const late: Publisher = {
      name: 'late',
      publish: async (events) => {
        seen.push(...events.map(({ id }) => id))
        if (seen.length === 1) await gate.promise
        return events.map(() => ({ status: 'published' }))
      },
    }
    const publisher = publishToAll('all', [late, () => {}])
    const abort = new AbortController()
    const first = publisher.publish([a2], abort)
    abort.abort()
    await publisher.publish([a1], context)
    gate.resolve()
    await first
    await publisher.publish([a2], context)
    expect(seen).toEqual([a2.id, a1.id, a2.id])
  })

  test('an event whose key went on without it comes behind what followed only to those that miss it', async () => {
    let fault: unknown = new Error('not now')
    const [a1, a2] = [contractEvent('a', 1), contractEvent('a', 2)]
    const well = new MemoryPublisher()
    const ill = new MemoryPublisher(({ id }) => (id === a1.id ? fault : undefined))
    const publisher = publishToAll('all', [well, ill])
    for (const event of [a1, a2]) await publisher.publish([event], context)
    fault = undefined
    await publisher.publish([a1], context)
    expect([ids(well), ids(ill)]).toEqual([
      [a1.id, a2.id],
      [a2.id, a1.id],
    ])
  })

  test('an event that is redriven after one has refused it goes to all of them', async () => {
    let fault: unknown = permanent(new Error('no'))
    const well = new MemoryPublisher()
    const publisher = publishToAll('all', [well, (_: OutboxEvent) => (fault === undefined ? undefined : Promise.reject(fault))])
    expect((await publisher.publish([a], context))[0]?.status).toBe('permanent')
    fault = undefined
    expect((await publisher.publish([a], context))[0]?.status).toBe('published')
    expect(ids(well)).toEqual([a.id, a.id])
  })

  test('an event that is redriven after its tries were exhausted goes to those that miss it', async () => {
    let fault: unknown = new Error('not now')
    const well = new MemoryPublisher()
    const ill = new MemoryPublisher(() => fault)
    const publisher = publishToAll('all', [well, ill])
    expect((await publisher.publish([a], context))[0]?.status).toBe('retryable')
    fault = undefined
    expect((await publisher.publish([a], context))[0]?.status).toBe('published')
    expect([ids(well), ids(ill)]).toEqual([[a.id], [a.id]])
  })

  test('one that throws or answers nonsense costs the others nothing, and is waited for with them', async () => {
    let ended = false
    const slow: Publisher = {
      name: 'slow',
      publish: async (events) => {
        await new Promise((resolve) => setTimeout(resolve, 20))
        ended = true
        return events.map(() => ({ status: 'published' }))
      },
    }
    const throwing: Publisher = { name: 'throwing', publish: () => Promise.reject(new Error('broken')) }
    const short: Publisher = { name: 'short', publish: async () => [] }
    const outcomes = await publishToAll('all', [slow, throwing, short]).publish([a, b], context)
    expect(outcomes.map(({ status }) => status)).toEqual(['retryable', 'retryable'])
    expect(ended).toBe(true)
  })

  test('makes all ready and closes all, also behind one that fails', async () => {
    const calls: unknown[] = []
    const noisy = (name: string, fails = false): Publisher => ({
      name,
      prepare: async (surroundings) => void calls.push(surroundings?.logger),
      publish: async () => [],
      close: async () => {
        calls.push(name)
        if (fails) throw new Error('stuck')
      },
    })
    const publisher = publishToAll('all', [noisy('one', true), noisy('two'), () => {}])
    expect(publisher.name).toBe('all')
    await publisher.prepare?.({ logger: silentLogger })
    await expect(publisher.close?.()).rejects.toThrow('stuck')
    expect(calls).toEqual([silentLogger, silentLogger, 'one', 'two'])
  })

  test('what is no name or no list of publishers is refused', () => {
    for (const [name, publishers] of [
      ['', [() => {}]],
      ['x'.repeat(101), [() => {}]],
      ['all', []],
      ['all', [undefined]],
      ['all', () => {}],
      [undefined, [() => {}]],
    ])
      expect(() => publishToAll(name as never, publishers as never)).toThrow('OPTION_INVALID')
  })
})
