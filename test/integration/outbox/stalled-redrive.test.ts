import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { permanent } from '../../../src/outbox/publishing/publisher.ts'
import { openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'

// Only PostgreSQL: on SQLite a redrive holds the whole file, and its transaction is one turn of the process.
test('a redrive that stands still before its commit holds up no relay for long, and is undone', async () => {
  const database = await openTestDatabase('postgresql')
  onTestFinished(() => database.close())
  // Before any connection is made: each keeps the method that it finds.
  const { query } = pg.Client.prototype
  const stalled = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  let redriving = false
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    const text = String((args[0] as { text?: string } | undefined)?.text ?? args[0])
    if (/set redrives = redrives/.test(text)) redriving = true
    if (!redriving || !/^commit/i.test(text)) return Reflect.apply(query, this, args)
    redriving = false
    stalled.resolve()
    return gate.promise.then(() => Reflect.apply(query, this, args))
  } as typeof query
  onTestFinished(() => {
    pg.Client.prototype.query = query
  })
  const bench = await openOutbox(database.url)
  onTestFinished(() => bench.close())
  await bench.record('a', [1])
  let bad = true
  const publisher = () => {
    if (bad) throw permanent(new Error('bad'))
  }
  await bench.outbox.relay({ publisher }).drain()
  const redriven = bench.outbox.deadLetters.redrive({ type: 'NoteTagged' })
  redriven.catch(() => {})
  await stalled.promise
  const other = await openOutbox(database.url)
  onTestFinished(() => other.close())
  const relay = other.outbox.relay({ publisher })
  const at = Date.now()
  // Registering, it waits for the lock.
  await relay.start()
  expect(Date.now() - at).toBeLessThan(4500)
  await relay.stop()
  gate.resolve()
  await expect(redriven).rejects.toThrow()
  expect(await bench.outbox.deadLetters.list()).toHaveLength(1)
  bad = false
  expect(await bench.outbox.deadLetters.redrive({ type: 'NoteTagged' })).toBe(1)
  expect(await bench.outbox.relay({ publisher }).drain()).toMatchObject({ published: 1 })
})
