import { beforeEach } from 'vitest'
import { permanent } from '../../src/outbox/publishing/publisher.ts'
import { MemoryPublisher } from '../../src/testing/memory-publisher.ts'
import type { TestDialect } from './databases.ts'
import { outboxGround } from './outbox-ground.ts'

/** Gives each test an outbox of its own, and a publisher that refuses what is `bad`: at first the payload 1. */
export function letterGround(dialect: TestDialect) {
  const ground = outboxGround(dialect)
  const bad = new Set<unknown>()
  let publisher: MemoryPublisher
  beforeEach(() => {
    bad.clear()
    bad.add(1)
    publisher = new MemoryPublisher((event) => (bad.has(event.payload) ? permanent(new Error('no')) : undefined))
  })
  return {
    get bench() {
      return ground.bench
    },
    get publisher() {
      return publisher
    },
    bad,
    openBeside: ground.openBeside,
    drain: (onDeadLetter: 'skip' | 'block-key' = 'skip') => ground.bench.outbox.relay({ publisher, onDeadLetter }).drain(),
  }
}
