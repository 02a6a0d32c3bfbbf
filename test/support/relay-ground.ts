import { beforeEach, expect } from 'vitest'
import type { OutboxEvent } from '../../src/outbox/publishing/publisher.ts'
import type { TestDialect } from './databases.ts'
import { outboxGround } from './outbox-ground.ts'

/** Gives each test an outbox of its own, and a publish function that collects what it gets. */
export function relayGround(dialect: TestDialect) {
  const ground = outboxGround(dialect)
  const seen: OutboxEvent[] = []
  beforeEach(() => void seen.splice(0))
  return {
    get bench() {
      return ground.bench
    },
    seen,
    collect: (event: OutboxEvent) => void seen.push(event),
    payloads: () => seen.map((event) => event.payload),
  }
}

/** Waits at most ten seconds for a condition, and looks every few milliseconds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(condition, { interval: 5, timeout: 10_000 }).toBe(true)
}
