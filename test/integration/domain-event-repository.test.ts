import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assessment } from '../../src/assessment/assessment-module.ts'
import { calculateAndStoreAIRScore } from '../../src/assessment/calculate-and-store-air-score.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { DomainEvent, DomainEventRepository } from '../../src/outbox/event/domain-event.ts'
import { createUser } from '../support/assessment-orm.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

describe.each(dialects)('the repository of domain events on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  const ids: string[] = []
  beforeAll(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({ modules: [assessment], database: { url: database.url } })
    await data.migrate()
    const userId = await data.unitOfWork(async ({ em }) => createUser(em, 'alex@x.y').id)
    for (let index = 0; index < 4; index++) ids.push((await calculateAndStoreAIRScore(data, userId, '15-1252')).event.id)
    await runSql(data.fork(), "update domain_events set status = 'published' where id in (?, ?)", [ids[0], ids[1]])
  })
  afterAll(async () => {
    await data.close()
    await database.close()
  })
  const events = () => data.fork().getRepository(DomainEvent)

  it('is what em.getRepository returns', () => {
    expect(events()).toBeInstanceOf(DomainEventRepository)
  })

  it('lists the pending events, the longest waiting first', async () => {
    expect((await events().pending()).map(({ id }) => id)).toEqual([ids[2], ids[3]])
  })

  it('lists the published events, the newest first', async () => {
    expect((await events().published()).map(({ id }) => id)).toEqual([ids[1], ids[0]])
  })

  it('lists no more than asked for', async () => {
    expect((await events().pending({ limit: 1 })).map(({ id }) => id)).toEqual([ids[2]])
    await expect(events().pending({ limit: 0 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })
})
