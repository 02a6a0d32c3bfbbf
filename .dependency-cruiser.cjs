// The floors of src, lowest first. Imports go down only, `import type` too; two places of one floor do not know each other.
// Every pattern may hold one group: places that differ in it (publishers/kafka, publishers/nats) are different places.
const floors = [
  ['^src/errors[.]ts$'],
  ['^src/kernel/'],
  ['^src/database/', '^src/redis/'],
  ['^src/outbox/', '^src/cache/'],
  ['^src/unit-of-work/', '^src/repository/', '^src/publishers/([^/]+)/'],
  ['^src/module[.]ts$'],
  ['^src/assessment/', '^src/inbox/'],
  ['^src/extension[.]ts$'],
  [
    '^src/data-access-options[.]ts$',
    '^src/data-access-health[.]ts$',
    '^src/data-access-unit[.]ts$',
    '^src/data-access-closing[.]ts$',
  ],
  ['^src/data-access[.]ts$'],
  ['^src/index[.]ts$', '^src/testing/', '^src/migrations/', '^src/cli/'],
]
// The rooms of the outbox, lowest first: what is published, what is recorded, its tables and statements, who publishes, who examines.
const outboxRooms = [
  ['^src/outbox/publishing/'],
  ['^src/outbox/event/'],
  ['^src/outbox/store/'],
  ['^src/outbox/relay/'],
  ['^src/outbox/doctor/', '^src/outbox/redis-wake/', '^src/outbox/dead-letters[.]ts$'],
  ['^src/outbox/outbox[.]ts$'],
]
// What a folder gives to the outside stands in its index.ts: an entry point of the package, above all floors.
const entryPoint = '^src/(|.+/)index[.]ts$'

const rulesOf = (title, floors, within) =>
  floors.flatMap((places, floor) =>
    places.map((place) => ({
      name: `${title}-${floor}-${place
        .replace(/[^a-z-]+/g, ' ')
        .trim()
        .replace(/^src /, '')
        .replaceAll(' ', '-')}`,
      comment: 'Imports go down only. An upward need is met by a port on the lower floor.',
      severity: 'error',
      from: { path: place, pathNot: entryPoint },
      to: { path: within, pathNot: [...floors.slice(0, floor).flat(), place.replace(/\(.*\)/, '$1')] },
    })),
  )

module.exports = {
  forbidden: [
    ...rulesOf('floor', floors, '^src/'),
    ...rulesOf('outbox', outboxRooms, '^src/outbox/'),
    {
      name: 'has-a-floor',
      comment: 'A new folder of src gets its floor in .dependency-cruiser.cjs first.',
      severity: 'error',
      from: { path: '^src/', pathNot: [...floors.flat(), entryPoint] },
      to: {},
    },
    {
      name: 'no-import-of-an-entry-point',
      comment: 'An index.ts is a door for users; inside, import the file that has the thing.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: entryPoint },
    },
    {
      name: 'no-cycle',
      comment: 'Entities of one domain may know each other: their relations are arrows, read after all files are loaded.',
      severity: 'error',
      from: { path: '^(src|test|examples)/', pathNot: '^src/assessment/' },
      to: { circular: true },
    },
    {
      name: 'ioredis-only-in-redis',
      comment: 'Timeouts, retries and the circuit breaker of src/redis hold only for connections made there.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/redis/' },
      to: { path: 'node_modules/ioredis' },
    },
    {
      name: 'drivers-only-in-connection',
      comment: 'A driver is an optional peer.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/database/connection[.]ts$' },
      to: { path: 'node_modules/@mikro-orm/(postgresql|sqlite)' },
    },
    {
      name: 'drivers-only-when-asked-for',
      comment: 'Importing the package loads no driver: await import(…) when the URL is known.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: 'node_modules/@mikro-orm/(postgresql|sqlite)', dynamic: false },
    },
    {
      name: 'no-layer-under-mikro-orm',
      comment: 'What lies under MikroORM is its own business, and moves with its minor versions.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: 'node_modules/(@mikro-orm/sql|kysely|pg|better-sqlite3|knex)/' },
    },
    {
      name: 'src-needs-nothing-of-development',
      comment: 'A user installs dependencies and peers, not devDependencies.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'unknown'], dependencyTypesNot: ['npm', 'npm-peer', 'npm-optional'] },
    },
    {
      name: 'src-knows-no-test-or-example',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|examples|docs|[.]config)/' },
    },
    {
      name: 'examples-import-the-package-by-name',
      comment: 'An example shows what a user types; by name it gets to the doors alone.',
      severity: 'error',
      from: { path: '^examples/' },
      to: { path: '^(src|test)/', dependencyTypesNot: ['aliased-tsconfig-paths'] },
    },
    {
      name: 'lab-page-runs-in-a-browser',
      comment: 'What the page and its server say to each other stands in contract; the page takes nothing else of the lab.',
      severity: 'error',
      from: { path: '^examples/lab/(page|contract)/' },
      to: { path: '^(src|examples/lab/(server|chapters))/' },
    },
    {
      name: 'lab-server-above-its-chapters',
      severity: 'error',
      from: { path: '^examples/lab/chapters/' },
      to: { path: '^examples/lab/(server|page)/' },
    },
    {
      name: 'resolves',
      comment: 'The peers of the benches are installed by `npm run bench` alone.',
      severity: 'error',
      from: { path: '^(src|test)/', pathNot: '^test/bench/peers/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '^dist/'] },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
  },
}
