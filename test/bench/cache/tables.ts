import type { BenchContext, Contestant, Table } from '../table.ts'

/** A contestant that reads so often at this concurrency; the peers have a program of their own. */
function reader(name: string, contestant: string, reads: number, concurrency: number, atLeast?: number): Contestant {
  const program = contestant.startsWith('peer') ? 'peers/cached-reads.mjs' : 'cache/cached-reads.ts'
  const args = ({ databaseUrl, redisUrl, stream }: BenchContext) => [
    ...[contestant, databaseUrl, redisUrl, `${stream}:`],
    ...[`${reads}`, `${concurrency}`],
  ]
  return { name, program, args, ...(atLeast === undefined ? {} : { targets: [{ column: 'ratio', atLeast }] }) }
}

const onRedis = (concurrency: number): Table => {
  // Many readers at once are told of as in a service that runs on: the compiler takes a second until it has done its work.
  const reads = concurrency === 1 ? 20_000 : 600_000
  const one = (name: string, contestant: string, share = 1, atLeast?: number) =>
    reader(name, contestant, reads * share, concurrency, atLeast)
  return {
    title: `Cached reads: hit on Redis, a user of 560 bytes, concurrency ${concurrency}`,
    contestants: [
      one(`ioredis GET and JSON.parse, ${concurrency === 1 ? 'plain' : 'auto-pipelined'}`, 'raw get'),
      one('ioredis, the GETs of one tick as one MGET', 'raw mget'),
      one('data.cached(User).get', 'redis get', 1, concurrency === 1 ? 0.85 : 1.3),
      one('cached query with one dependency, a value of 560 bytes', 'redis profile', 1, concurrency === 1 ? 0.85 : 1.3),
      one('cached query with two dependencies, a small value', 'redis query'),
      one('MGET, then em.merge into a fork', 'raw mget, merge', 0.25),
      one('data.cached(User, { em }).get, managed', 'redis managed', 0.25),
      one('async-cache-dedupe', 'peer async-cache-dedupe'),
      one('layered-loader', 'peer layered-loader redis'),
      one('bentocache', 'peer bentocache redis'),
      one('instead of it: pg, prepared', 'pg prepared', 0.1),
      one('instead of it: MikroORM findOne', 'mikro-orm findOne', 0.1),
    ],
  }
}

const inProcess: Table = {
  title: 'Cached reads: hit in the process, concurrency 64',
  contestants: [
    reader('ioredis GET and JSON.parse, auto-pipelined', 'raw get', 80_000, 64),
    reader('data.cached(User).get, memoryCache()', 'memory get', 600_000, 64, 10),
    reader('data.cached(User).get, redisCache({ tier })', 'tier get', 600_000, 64, 10),
    reader('the same, frozen: memoryCache()', 'memory frozen', 2_000_000, 64, 40),
    reader('the same, frozen: redisCache({ tier })', 'tier frozen', 2_000_000, 64, 40),
    reader('lru-cache, one shared object for all', 'lru shared', 2_000_000, 64),
    reader('lru-cache and JSON.parse', 'lru parse', 400_000, 64),
    reader('lru-cache and structuredClone', 'lru clone', 200_000, 64),
    reader('layered-loader, one shared object for all', 'peer layered-loader memory', 600_000, 64),
    reader('bentocache, serialized', 'peer bentocache memory', 200_000, 64),
    reader('bentocache, one shared object for all', 'peer bentocache shared', 600_000, 64),
    reader('async-cache-dedupe, one shared object for all', 'peer async-cache-dedupe memory', 600_000, 64),
    reader('cacheable', 'peer cacheable', 60_000, 64),
    reader('MikroORM findOne with its result cache', 'mikro-orm result cache', 20_000, 64),
    reader('instead of it: pg, prepared', 'pg prepared', 20_000, 64),
    reader('instead of it: MikroORM findOne', 'mikro-orm findOne', 20_000, 64),
  ],
}

const many: Table = {
  title: 'Cached reads: a hundred users at once',
  contestants: [
    reader('ioredis, one MGET and JSON.parse', 'raw many', 6000, 1),
    reader('the same, with its dates made', 'raw many, dates', 6000, 1),
    reader('data.cached(User).getMany, redisCache()', 'redis many', 6000, 1, 0.9),
    reader('data.cached(User).getMany, memoryCache()', 'memory many', 6000, 1),
    reader('layered-loader, getMany on Redis', 'peer layered-loader many', 6000, 1),
    reader('async-cache-dedupe on Redis, a hundred gets', 'peer async-cache-dedupe many', 3000, 1),
    reader('bentocache on Redis, a hundred gets', 'peer bentocache many', 3000, 1),
    reader('instead of it: pg, prepared', 'pg many', 3000, 1),
    reader('instead of it: MikroORM find', 'mikro-orm many', 1000, 1),
  ],
}

const misses: Table = {
  title: 'Cached reads: miss on Redis, row from PostgreSQL, concurrency 1',
  contestants: [
    reader('GET, the driver’s find, SET', 'naive miss', 4000, 1),
    reader('data.cached(User).get', 'redis miss', 4000, 1, 0.77),
    reader('GET, a prepared statement, SET', 'prepared miss', 4000, 1),
    reader('async-cache-dedupe and a prepared statement', 'peer async-cache-dedupe miss', 4000, 1),
    reader('layered-loader and a prepared statement', 'peer layered-loader miss', 4000, 1),
    reader('bentocache and a prepared statement', 'peer bentocache miss', 4000, 1),
  ],
}

/** Hits, each of one row. */
export const hitTables: readonly Table[] = [onRedis(1), onRedis(64), inProcess]

/** A hundred rows at once, and misses. */
export const manyAndMissTables: readonly Table[] = [many, misses]
