import { setTimeout as delay } from 'node:timers/promises'
import { LockMode } from '@mikro-orm/core'
import { createDataAccess } from '../../src/data-access.ts'
import { Note, NoteTagged, notes } from './notes-module.ts'

// Writes to hot aggregates in every way a unit of work can: arguments are the database, writers, units per writer, aggregates.
const [url = '', writers = '4', units = '50', aggregates = '5'] = process.argv.slice(2)
const data = await createDataAccess({ modules: [notes], database: { url, pool: { max: Number(writers) } } })

async function write(index: number): Promise<void> {
  const id = `n${Math.floor(Math.random() * Number(aggregates))}`
  await data.unitOfWork(
    async ({ em, record }) => {
      const hold = () => delay(Math.random() < 0.3 ? Math.random() * 8 : 0)
      if (index % 2 === 0) {
        const note = await em.findOneOrFail(Note, id, { lockMode: LockMode.PESSIMISTIC_WRITE })
        note.count++
        record(NoteTagged, note, { count: note.count })
        await hold()
        if (index % 4 === 0) await em.flush()
      } else {
        record(NoteTagged, id, {})
      }
      if (index % 3 === 0) await data.unitOfWork(async (nested) => void nested.record(NoteTagged, id, { nested: true }))
      if (index % 5 === 0) {
        const rolledBack = data.unitOfWork(async (nested) => {
          nested.record(NoteTagged, id, { lost: true })
          throw new Error('rolled back')
        })
        await rolledBack.catch(() => {})
      }
      await hold()
    },
    { retry: { attempts: 20 } },
  )
}

await Promise.all(
  Array.from({ length: Number(writers) }, async () => {
    for (let index = 0; index < Number(units); index++) await write(index)
  }),
)
await data.close()
