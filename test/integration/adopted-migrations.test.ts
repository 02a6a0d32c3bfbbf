import { defineEntity, MikroORM, p } from '@mikro-orm/core'
import { Migration, Migrator } from '@mikro-orm/migrations'
import { PostgreSqlDriver } from '@mikro-orm/postgresql'
import { SqliteDriver } from '@mikro-orm/sqlite'
import { describe, expect, test } from 'vitest'
import { createDataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import type { DataModule } from '../../src/module.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'

const InvoiceSchema = defineEntity({ name: 'Invoice', tableName: 'invoices', properties: { id: p.integer().primary() } })
class Invoice extends InvoiceSchema.class {}
InvoiceSchema.setClass(Invoice)

class CreateInvoices extends Migration {
  override up(): void {
    this.addSql('create table invoices (id integer primary key)')
  }
}
class Widening extends Migration {
  override name = 'WidenInvoices'
  override up(): void {
    this.addSql('alter table invoices add total integer')
  }
}
class CreateLines extends Migration {
  override up(): void {
    this.addSql('create table lines (id integer primary key)')
  }
}

describe.each(dialects)("an application's own migrations on %s", (dialect) => {
  const opened = closesOpened()
  const start = async () => {
    const { url } = opened(await openTestDatabase(dialect))
    const where = dialect === 'sqlite' ? { dbName: url.replace(/^sqlite:/, '') } : { clientUrl: url }
    return async (options: object, modules: readonly DataModule[] = []) =>
      opened(
        await MikroORM.init({
          ...{ ...where, entities: [Invoice], driver: dialect === 'sqlite' ? SqliteDriver : PostgreSqlDriver },
          extensions: [Migrator, dataAccess({ modules, logger: silentLogger })],
          migrations: { snapshot: false, silent: true, ...options },
        } as never),
      )
  }
  const [first, second] = [{ name: 'Invoices001.js', class: CreateInvoices }, Widening]

  test('keep it from being ready, told by name and with their cure, and what migrate() does not run is not pending there', async () => {
    const orm = await (await start())({ migrationsList: [first, second] })
    const data = opened(await createDataAccess({ orm, cache: false }))
    const ours = await data.pendingMigrations()
    expect(ours).not.toContain('Invoices001')
    const both = expect.stringMatching(/data.migrate.*orm.migrator.up/)
    expect(await data.health({ migrations: true })).toMatchObject({
      ok: false,
      migrations: { ok: false, pending: [...ours, 'Invoices001', 'WidenInvoices'], error: both },
    })
    await data.migrate()
    const theirs = expect.not.stringContaining('data.migrate')
    expect(await data.health({ migrations: true })).toMatchObject({
      migrations: { ok: false, pending: ['Invoices001', 'WidenInvoices'], error: theirs },
    })
    await orm.migrator.up()
    expect(await data.health({ migrations: true })).toMatchObject({ ok: true, migrations: { ok: true, pending: [] } })
  })

  test('are no second time pending where the list holds ours too', async () => {
    const probe = await createDataAccess({ cache: false })
    const names = await probe.pendingMigrations()
    await probe.close()
    const orm = await (await start())({ migrationsList: names.map((name) => ({ name, class: CreateLines })) })
    const data = opened(await createDataAccess({ orm, cache: false }))
    expect((await data.health({ migrations: true })).migrations?.pending).toEqual(names)
  })

  test('of a list that has become a module are known as run, and one migrate() does all that is left', async () => {
    const open = await start()
    const before = await open({ migrationsList: [first, second] })
    await before.migrator.up()
    // A list made of files may have their endings, which MikroORM's table has not.
    const list = [
      { ...first, name: 'Invoices001.ts' },
      { name: 'WidenInvoices', class: Widening },
      { name: 'Lines001', class: CreateLines },
    ]
    const legacy: DataModule = { name: 'legacy', migrations: { postgresql: list, sqlite: list } }
    const orm = await open({}, [legacy])
    const data = opened(await createDataAccess({ orm, cache: false }))
    const pending = await data.pendingMigrations()
    expect(pending).toContain('Lines001')
    expect(pending).not.toContain('Invoices001')
    expect(pending).not.toContain('WidenInvoices')
    expect(await data.migrate()).toEqual(pending)
    expect(await data.migrate()).toEqual([])
    expect(await data.health({ migrations: true })).toMatchObject({ ok: true, migrations: { pending: [] } })
  })
})
