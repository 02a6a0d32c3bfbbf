import { User } from '../../src/assessment/user.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { createDataAccess } from '../../src/data-access.ts'

// Awaits what never answers, with nothing else that keeps the process alive, and says what came of it.
const [wait = ''] = process.argv.slice(2)
let reads = 0
const stuck = cachedQuery({
  name: 'stuck',
  dependsOn: () => [dep(User)],
  run: () => (reads++ === 0 ? Promise.resolve(1) : new Promise<number>(() => {})),
  ttl: 1,
  serveStale: 60_000,
})
const data = await createDataAccess({ modules: [{ name: 'stuck', entities: [User], caches: [stuck] }] })
if (wait === 'health') {
  const began = Promise.withResolvers<void>()
  void data.fork().transactional(async () => {
    began.resolve()
    await new Promise(() => {})
  })
  await began.promise
  console.log((await data.health()).database.error)
}
if (wait === 'close') {
  await data.cached(stuck).get({})
  while (reads < 2) await data.cached(stuck).get({})
  await data.close()
  console.log('closed')
}
