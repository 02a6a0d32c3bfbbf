import type { EntityName } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { assessment } from '../../../src/assessment/assessment-module.ts'
import { createDataAccess } from '../../../src/data-access.ts'
import { openOrm } from '../../../src/database/connection.ts'
import { outboxTables } from '../../../src/outbox/store/tables.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../../support/databases.ts'

/** Tables without an entity: MikroORM's own, and the counter that stands for a sequence on SQLite. */
const withoutEntity = ['mikro_orm_migrations', 'outbox_sequence']

describe.each(dialects)('all migrations on %s', (dialect) => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const data = await createDataAccess({ modules: [assessment], database: { url: database.url } })
    await data.migrate()
    await data.close()
  })
  afterEach(() => database.close())

  /** Compares with no extension of ours in the way, which hides our tables from an application's own schema commands. */
  async function differences(entities: EntityName[]): Promise<string> {
    const orm = await openOrm({ url: database.url }, { entities, schemaGenerator: { skipTables: withoutEntity } })
    try {
      return await orm.schema.getUpdateSchemaSQL({ wrap: false, safe: true })
    } finally {
      await orm.close(true)
    }
  }

  test('leave no difference between the tables and our entities', async () => {
    expect(await differences([...outboxTables.entities, ...(assessment.entities ?? [])])).toBe('')
  })

  test('and a lost index would be seen', async () => {
    const orm = await openOrm({ url: database.url }, { entities: [...outboxTables.entities] })
    await orm.driver.getConnection().execute('drop index domain_events_pending_index')
    await orm.close(true)
    expect(await differences([...outboxTables.entities, ...(assessment.entities ?? [])])).toContain('domain_events_pending_index')
  })
})
