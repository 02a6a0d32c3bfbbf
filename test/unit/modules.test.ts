import { Migration } from '@mikro-orm/migrations'
import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import type { DataModule } from '../../src/module.ts'
import { Note, notes } from '../support/notes-module.ts'

class Nothing extends Migration {
  override up(): void {}
}
const list = [{ name: 'nothing-001', class: Nothing }]

describe('the migrations of a module', () => {
  test('may be those of one dialect', async () => {
    for (const migrations of [
      { sqlite: notes.migrations?.sqlite },
      { sqlite: notes.migrations?.sqlite, postgresql: undefined },
    ]) {
      const module: DataModule = { name: 'notes', entities: [Note], migrations }
      await using data = await createDataAccess({ modules: [module] })
      expect(await data.migrate()).toContain('notes-001')
      expect(await data.fork().count(Note)).toBe(0)
    }
  })

  test('are missed where the other one is opened', async () => {
    const module: DataModule = { name: 'notes', entities: [Note], migrations: { postgresql: notes.migrations?.postgresql } }
    await using data = await createDataAccess({ modules: [module] })
    await data.migrate()
    await expect(data.fork().count(Note)).rejects.toMatchObject({
      code: 'MIGRATION_MISSING',
      message: expect.stringContaining(
        'Module "notes" has no migration for sqlite: add one that creates it to `migrations.sqlite`',
      ),
    })
  })

  test('are refused under one name before anything is opened, in either dialect', async () => {
    const twice = { code: 'OPTION_INVALID', message: expect.stringContaining('Two migrations are called "nothing-001"') }
    for (const dialect of ['postgresql', 'sqlite']) {
      const modules = ['one', 'other'].map((name): DataModule => ({ name, migrations: { [dialect]: list } }))
      await expect(createDataAccess({ modules })).rejects.toMatchObject(twice)
      expect(() => dataAccess({ modules })).toThrow(expect.objectContaining(twice))
    }
  })
})
