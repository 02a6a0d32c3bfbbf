import { defineEntity, p } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { z } from 'zod'
import type { DataModule } from '../../src/module.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'

/** A smallest domain of the tests' own: one table with a unique title, and one event. */
const NoteSchema = defineEntity({
  name: 'Note',
  tableName: 'notes',
  properties: {
    id: p.string().length(36).primary(),
    title: p.string().length(100).unique(),
    count: p.integer().default(0),
  },
})
export class Note extends NoteSchema.class {}
NoteSchema.setClass(Note)

class CreateNotes extends Migration {
  override up(): void {
    this.addSql(
      'create table notes (id varchar(36) primary key, title varchar(100) not null unique, count int not null default 0)',
    )
  }
  override down(): void {
    this.addSql('drop table notes')
  }
}

export const NoteWritten = defineEvent({ type: 'NoteWritten', aggregate: Note, payload: z.object({ title: z.string().min(1) }) })

/** An event whose payload may be anything that JSON carries. */
export const NoteTagged = defineEvent({ type: 'NoteTagged', aggregate: 'Note', payload: z.unknown() })

const migrations = [{ name: 'notes-001', class: CreateNotes }]
export const notes: DataModule = {
  name: 'notes',
  entities: [Note],
  migrations: { postgresql: migrations, sqlite: migrations },
  events: [NoteWritten, NoteTagged],
}
