import type { UnitOfWorkContext } from '@innovateai/data-access'
import { AIRScore, AIRScoreCalculated, calculateAndStoreAIRScore, User } from '@innovateai/data-access/assessment'
import { DomainEvent } from '@innovateai/data-access/outbox'
import { Presets, SingleBar } from 'cli-progress'
import { connect, removeUsers, stop } from './support/connect.ts'
import { chapter, shown, step, table } from './support/print.ts'
import { openTransport } from './support/transport.ts'

const userCount = 8
const scoresEach = 25

const data = await connect()
chapter('Chapter 5 · Transactional outbox')
await data.migrate()
await removeUsers(data, '@outbox.example')
// A relay publishes all that is pending, and events of other programs are not for this chapter's subscriber.
const { backlog, relays } = await data.outbox.stats()
if (backlog + relays.length > 0) {
  stop(`${backlog} events of other programs are pending and ${relays.length} relays run: give chapter 5 its own database`)
}

const users = await data.unitOfWork(async ({ em }) => {
  const numbers = Array.from({ length: userCount }, (_, index) => index + 1)
  return numbers.map((number) => em.create(User, { email: `user-${number}@outbox.example`, name: `User ${number}` }))
})
const [alexId = ''] = users.map(({ id }) => id)

step('The operation of the seed: a score and its event in one transaction')
const { score, event } = await calculateAndStoreAIRScore(data, alexId, '15-1252')
const about = event.aggregateId === score.id ? `the ${event.aggregateType} just stored` : 'another'
table(['event', 'is about', 'status'], [[event.type, about, event.status]])

step('A unit of work that fails leaves neither a score nor an event')
const before = await counts()
try {
  await data.unitOfWork(async (unit) => {
    recordScore(unit, alexId, 99)
    await unit.em.flush() // the score is written, and then …
    throw new Error('the network is down')
  })
} catch (error) {
  console.log(`the work threw: ${(error as Error).message}`)
}
const after = await counts()
table(
  ['rows', 'before', 'after'],
  [
    ['scores', before.scores, after.scores],
    ['pending events', before.pending, after.pending],
  ],
)

step(`${userCount} users get ${scoresEach} scores each, in ${scoresEach} transactions`)
for (let number = 1; number <= scoresEach; number++) {
  await data.unitOfWork(async (unit) => {
    for (const { id } of users) recordScore(unit, id, 60 + number)
  })
}
printEvents('pending', (await counts()).pending, await data.fork().getRepository(DomainEvent).pending({ limit: 3 }))

step('The relay moves them from pending to published')
const transport = await openTransport()
console.log(transport.description)
const bar = new SingleBar({ stream: process.stdout, format: '{bar} {value} of {total} published' }, Presets.shades_classic)
const relay = data.outbox.relay({ publisher: transport.publisher, batchSize: 20 })
relay.on('published', ({ events }) => bar.increment(events.length))
bar.start((await counts()).pending, 0)
const { published, retried, deadLettered } = await relay.drain()
bar.stop()
console.log(`drained: ${published} published, ${retried} to try again, ${deadLettered} dead letters`)
printEvents('pending', (await counts()).pending, [])
printEvents('published', published, await data.fork().getRepository(DomainEvent).published({ limit: 3 }))

step('What the subscriber got')
const messages = await transport.arrived(
  users.map(({ id }) => id),
  published,
)
table(
  ['user', 'events', 'scores', 'in the order of the commits'],
  users.map(({ id, name }) => {
    const values = messages
      .filter((each) => each.userId === id && each.occupation === '15-2051')
      .map((each) => each.airScoreValue)
    const inOrder = values.every((value, index) => value === 61 + index)
    return [name, values.length, `${values[0]} … ${values.at(-1)}`, inOrder ? 'yes' : 'NO']
  }),
)
console.log(`the last payload: ${JSON.stringify(messages.at(-1))}`)

await transport.close()
await removeUsers(data, '@outbox.example')
await data.close()
shown('events that exist if and only if their transaction committed, delivered in order and marked as published.')

/** Stores a score and records its event, ordered by user: without `orderingKey` it would be by score. */
function recordScore({ em, record }: UnitOfWorkContext, userId: string, airScore: number): void {
  const rest = { vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 55, ciUpper: 95, parameterVersion: 'v1.2' }
  const user = em.getReference(User, userId)
  const score = em.create(AIRScore, { user, occupationCode: '15-2051', airScore, ...rest })
  const payload = { userId, airScoreId: score.id, airScoreValue: airScore, occupation: '15-2051' }
  record(AIRScoreCalculated, score, payload, { orderingKey: `User:${userId}` })
}

async function counts(): Promise<{ scores: number; pending: number }> {
  const scores = await data.fork().count(AIRScore, { user: { $in: users } })
  return { scores, pending: (await data.outbox.stats()).backlog }
}

function printEvents(status: string, count: number, some: readonly DomainEvent[]): void {
  console.log(`${count} ${status}${some.length > 0 ? ', such as' : ''}`)
  if (some.length === 0) return
  const rows = some.map(({ id, eventType, publishedAt }) => [id, eventType, status, publishedAt?.toISOString() ?? 'not yet'])
  table(['id', 'type', 'status', 'published at'], rows)
}
