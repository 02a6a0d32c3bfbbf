import { stat } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Deadline, Silence } from '../../src/redis/deadline.ts'

/** Holds the process, as a long computation does. */
function compute(ms: number): void {
  const endsAt = performance.now() + ms
  while (performance.now() < endsAt);
}

async function outcome<T>(deadline: Deadline, awaited: Promise<T>): Promise<T | 'silence'> {
  try {
    return await deadline.bound(awaited)
  } catch (error) {
    if (error instanceof Silence) return 'silence'
    throw error
  } finally {
    deadline.end()
  }
}

test('what never comes is a silence', async () => {
  expect(await outcome(new Deadline(10), new Promise(() => {}))).toBe('silence')
})

test('what is written down before the wait begins takes none of its time', async () => {
  const deadline = new Deadline(50)
  compute(100)
  expect(await outcome(deadline, wait(1, 'answer'))).toBe('answer')
})

test('an answer that came while this process computed has come in time', async () => {
  for (let round = 0; round < 5; round++) {
    const answer = outcome(
      new Deadline(10),
      stat('.').then(() => 'answer'),
    )
    compute(100)
    expect(await answer).toBe('answer')
  }
})

test('time for which this process computed is given back, once', async () => {
  const slow = outcome(new Deadline(50), wait(80, 'answer'))
  compute(75)
  expect(await slow).toBe('answer')

  const never = outcome(new Deadline(20), new Promise(() => {}))
  const busy = setInterval(() => compute(40), 1)
  expect(await never).toBe('silence')
  clearInterval(busy)
})

test('an answer that comes too late is heard all the same', async () => {
  let heard = 0
  const deadline = new Deadline(1)
  const late = wait(50)
  await expect(deadline.bound(late, () => heard++)).rejects.toThrow('no answer within 1 ms')
  deadline.end()
  await late
  expect(heard).toBe(1)
})
