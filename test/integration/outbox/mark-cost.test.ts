import { expect, test } from 'vitest'
import { openTestDatabase } from '../../support/databases.ts'
import { openOutbox } from '../../support/outbox-bench.ts'

test('most marked events of a backlog stay on their page on PostgreSQL, so that their payload is not logged again', async () => {
  const database = await openTestDatabase('postgresql')
  const bench = await openOutbox(database.url)
  const text = 'x'.repeat(280)
  const pages = async () => {
    const rows = await bench.sql<{ id: string; page: string }>(
      'select id, (ctid::text::point)[0]::text as page from domain_events',
    )
    return new Map(rows.map(({ id, page }) => [id, page]))
  }
  for (let key = 0; key < 20; key++) await bench.record(`k${key}`, Array(100).fill(text))
  const before = await pages()
  await bench.outbox.relay({ publisher: () => {} }).drain()
  const stayed = [...(await pages())].filter(([id, page]) => before.get(id) === page)
  expect(stayed.length).toBeGreaterThan(1200)
  await bench.close()
  await database.close()
})
