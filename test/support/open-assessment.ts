import { assessment } from '../../src/assessment/index.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import type { DataAccessOptions } from '../../src/data-access-options.ts'
import { openTestDatabase, type TestDialect } from './databases.ts'
import { NoteTagged } from './notes-module.ts'

/** Events alone, of a domain whose tables are not ours. */
export const tags = { name: 'tags', events: [NoteTagged] }

/** Opens a data access with the assessments and `tags` on a database of its own, which it closes with itself. */
export async function openAssessment(
  dialect: TestDialect,
  options: DataAccessOptions = {},
): Promise<{ data: DataAccess; close(): Promise<void> }> {
  const database = await openTestDatabase(dialect)
  const data = await createDataAccess({ modules: [assessment, tags], database: { url: database.url }, ...options })
  const close = async () => {
    await data.close()
    await database.close()
  }
  return { data, close }
}
