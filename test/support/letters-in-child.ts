import { createDataAccess } from '../../src/data-access.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { armFailpoint, type Failpoint } from './failpoint.ts'
import { notes } from './notes-module.ts'

// Redrives or discards the dead letters of one aggregate, and dies on the way.
const [url, verb, failpoint] = process.argv.slice(2) as [string, 'redrive' | 'discard', string]
armFailpoint(JSON.parse(failpoint) as Failpoint)
const data = await createDataAccess({ modules: [notes], database: { url }, logger: silentLogger })
await data.outbox.deadLetters[verb]({ aggregateId: 'a' })
await data.close()
