import { readCommandLine } from './command-line.ts'

readCommandLine(
  `npm start

Runs the tour: data models, pooling, repositories, caching and the outbox, each by its program in examples/. On SQLite in memory
and a cache in this process; with DATABASE_URL (postgres://…) and REDIS_URL (redis://…) set, on PostgreSQL and Redis, in a schema
of its own, data_access_examples, and under a prefix of its own, data-access-examples.`,
  {},
)
await import('./build-if-needed.ts')
await import('../examples/tour.ts')
