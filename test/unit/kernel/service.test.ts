import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import { Service, type StopSignals } from '../../../src/kernel/service.ts'
import { ManualClock } from '../../../src/testing/manual-clock.ts'

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve())))

describe('service', () => {
  test('it can be stopped before its start, and twice', async () => {
    const service = new Service(({ stopping }) => aborted(stopping), new ManualClock())
    await service.stop(1000)
    expect(service.state).toBe('idle')
    service.start()
    expect(service.state).toBe('running')
    await service.stop(1000)
    await service.stop(1000)
    expect(service.state).toBe('stopped')
  })

  test('a body that does not finish is told to drop its work at the deadline', async () => {
    const clock = new ManualClock()
    const service = new Service(({ deadline }) => aborted(deadline), clock)
    service.start()
    const stopped = service.stop(1000)
    await clock.advance(999)
    expect(service.state).toBe('stopping')
    await clock.advance(1)
    await stopped
    expect(service.state).toBe('stopped')
  })

  test('a second stop does not wait for the deadline', async () => {
    const service = new Service(({ deadline }) => aborted(deadline), new ManualClock())
    service.start()
    const first = service.stop(1000)
    await service.stop(1000)
    await first
    expect(service.state).toBe('stopped')
  })

  test('its body knows nothing of the request that started it', async () => {
    const request = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const body = async ({ stopping }: StopSignals) => {
      seen.push(request.getStore())
      await aborted(stopping)
      seen.push(request.getStore())
    }
    const service = new Service(body, new ManualClock())
    await request.run('request', async () => {
      service.start()
      await service.stop(1000)
    })
    expect(seen).toEqual([undefined, undefined])
  })

  test('an error of the body reaches whoever stops it, and it can start again', async () => {
    let runs = 0
    const service = new Service(async () => {
      runs++
      throw new Error('broken')
    }, new ManualClock())
    service.start()
    await expect(service.ended).rejects.toThrow('broken')
    await service.stop(1000)
    service.start()
    expect(runs).toBe(2)
  })
})
