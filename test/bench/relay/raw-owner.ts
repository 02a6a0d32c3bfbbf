import { compete, fillOutbox } from '../contestant.ts'
import { openRawOwner } from './raw-shape.ts'

const deletes = process.env.RETENTION === 'delete'
const byScript = process.env.PUBLISHER === 'script'

await compete(async (task) => {
  await fillOutbox(task.databaseUrl, task.events)
  return openRawOwner(task, { deletes, byScript })
})
