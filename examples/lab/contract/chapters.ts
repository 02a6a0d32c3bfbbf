/** The pages of the lab, in the order of its navigation. */
export const chapters = [
  {
    slug: 'overview',
    path: '/',
    number: 0,
    title: 'Overview',
    lead: 'Five chapters on the data layer of an assessment platform. Press a button and watch what happens to rows, queries, hits and events.',
    guide: 'lab',
  },
  {
    slug: 'data-models',
    path: '/data-models',
    number: 1,
    title: 'Data models',
    lead: 'Four entities, drawn from the metadata that the library works with. What does not fit is refused, with its reason.',
    guide: 'data-models',
  },
  {
    slug: 'connectivity',
    path: '/connectivity',
    number: 2,
    title: 'Connectivity and pooling',
    lead: 'One URL decides which database is used. A pool makes requests wait instead of fail: here you see it work.',
    guide: 'connecting',
  },
  {
    slug: 'repositories',
    path: '/repositories',
    number: 3,
    title: 'Repositories and N+1',
    lead: 'The same users and scores, read in two ways. One asks the database once for each user, the other twice in all.',
    guide: 'n-plus-one',
  },
  {
    slug: 'caching',
    path: '/caching',
    number: 4,
    title: 'Read-through caching',
    lead: 'Reads that cost no query until a commit changes their rows, and then give the new rows at once.',
    guide: 'caching',
  },
  {
    slug: 'outbox',
    path: '/outbox',
    number: 5,
    title: 'Transactional outbox',
    lead: 'An event commits with the rows it tells of, and a relay publishes it: in order, at least once, whatever fails on the way.',
    guide: 'outbox-relay',
  },
] as const

export type Chapter = (typeof chapters)[number]
export type ChapterSlug = Chapter['slug']
