import { createDataAccess } from '../../src/data-access.ts'
import { armFailpoint, type Failpoint } from './failpoint.ts'
import { Note, NoteTagged, notes } from './notes-module.ts'

// One unit of work, which ends the process at a failpoint: arguments are the database and the failpoint.
const [url = '', failpoint = '{}'] = process.argv.slice(2)
armFailpoint(JSON.parse(failpoint) as Failpoint)
const data = await createDataAccess({ modules: [notes], database: { url } })
await data.unitOfWork(async ({ em, record }) => {
  const note = em.create(Note, { id: 'a', title: 'a' })
  for (const payload of [0, 1, 2]) record(NoteTagged, note, payload)
  await em.flush()
})
// Whoever comes here was not killed, and the test sees it.
await data.close()
