import { AIRScore, Assessment, User } from '@innovateai/data-access/assessment'
import { DomainEvent } from '@innovateai/data-access/outbox'
import { DriverException, type EntityClass, ReferenceKind, UniqueConstraintViolationException } from '@mikro-orm/core'
import { connect, removeUsers } from './support/connect.ts'
import { chapter, shown, step, table } from './support/print.ts'

const data = await connect()
chapter('Chapter 1 · Data models')

step('The entities of the module `assessment`, and the outbox table of the package')
const relationOf = { [ReferenceKind.ONE_TO_MANY]: '1 : n', [ReferenceKind.MANY_TO_ONE]: 'n : 1' } as Record<string, string>
const entities: readonly EntityClass<object>[] = [User, Assessment, AIRScore, DomainEvent]
table(
  ['entity', 'table', 'columns', 'relations'],
  entities.map((entity) => {
    const { className, tableName, props, relations } = data.orm.getMetadata().get(entity)
    const columns = props.filter(({ fieldNames }) => fieldNames !== undefined).length
    const arrows = relations.map(({ name, kind, type }) => `${name} (${relationOf[kind]} ${type})`)
    return [className, tableName, columns, arrows.join(', ')]
  }),
)

step('Migrations bring the tables up to date')
const ran = await data.migrate()
const ofModule = ran.filter((name) => name.startsWith('assessment'))
console.log(ran.length > 0 ? `ran those of the package, and ${ofModule.join(', ')}` : 'nothing to do: all of them ran before')
await removeUsers(data, '@models.example')

step('A new user, by the two fields of the form')
const alex = await createUser({ email: 'alex@models.example', name: 'Alex Smith' })
table(['id', 'email', 'name', 'created at'], [[alex.id, alex.email, alex.name, alex.createdAt.toISOString()]])

step('What the database refuses')
table(
  ['attempt', 'answer'],
  [
    ['the same email again', await attempt({ email: 'alex@models.example', name: 'Another Alex' })],
    ['a name of 256 characters', await attempt({ email: 'long@models.example', name: 'N'.repeat(256) })],
    ['an email of its own', await attempt({ email: 'jane@models.example', name: 'Jane Doe' })],
  ],
)

step('Assessments and scores belong to a user; metadata is JSON')
const scoreId = await data.unitOfWork(async ({ em }) => {
  const user = await em.getRepository(User).getOrFail(alex.id)
  em.create(Assessment, { user, component: 'verbal-reasoning' })
  em.create(Assessment, { user, component: 'human-skills', status: 'completed', itemsAdministered: 24 })
  const score = em.create(AIRScore, {
    user,
    occupationCode: '15-1252',
    airScore: 87.5,
    vrScore: 82,
    hrScore: 76.25,
    synergyScore: 91,
    ciLower: 71,
    ciUpper: 94,
    parameterVersion: 'v1.2',
    calculationMetadata: { model_version: 'GPT-4o', inputs: { items: 24, seconds: 1810.5 } },
  })
  return score.id
})
const score = await data.fork().getRepository(AIRScore).getOrFail(scoreId)
const assessments = await data.fork().find(Assessment, { user: alex.id }, { orderBy: { id: 'asc' } })
for (const { component, status, currentAbility, itemsAdministered } of assessments) {
  console.log(`assessment ${component}: ${status}, ability ${currentAbility}, ${itemsAdministered} items`)
}
console.log(`score ${score.airScore} of occupation ${score.occupationCode}:`, score.calculationMetadata)

step('Timestamps: updatedAt moves with every change, createdAt never')
const renamed = await data.unitOfWork(async ({ em }) => {
  const user = await em.getRepository(User).getOrFail(alex.id)
  user.name = 'Alex Smith-Jones'
  return user
})
const moved = renamed.updatedAt > alex.updatedAt
const kept = renamed.createdAt.getTime() === alex.createdAt.getTime()
console.log(`after a rename: updatedAt is ${moved ? 'later' : 'the same'}, createdAt is ${kept ? 'the same' : 'another'}`)

step('Removing a user removes what belongs to it')
const before = await counts()
await data.unitOfWork(async ({ em }) => {
  em.remove(await em.getRepository(User).getOrFail(alex.id))
})
const after = await counts()
table(
  ['rows of Alex', 'before', 'after'],
  [...before.keys()].map((name) => [name, before.get(name) ?? 0, after.get(name) ?? 0]),
)

await removeUsers(data, '@models.example')
await data.close()
shown('four tables with their relations, and a database that refuses what does not fit and leaves no orphans.')

async function createUser(form: { email: string; name: string }): Promise<User> {
  return data.unitOfWork(async ({ em }) => em.create(User, form))
}

async function attempt(form: { email: string; name: string }): Promise<string> {
  try {
    return `stored: ${(await createUser(form)).name}`
  } catch (error) {
    if (error instanceof UniqueConstraintViolationException) return 'refused: this email is taken'
    if (error instanceof DriverException) return `refused: ${error.message}`
    throw error
  }
}

async function counts(): Promise<ReadonlyMap<string, number>> {
  const em = data.fork()
  return new Map([
    ['users', await em.count(User, { id: alex.id })],
    ['assessments', await em.count(Assessment, { user: alex.id })],
    ['air_scores', await em.count(AIRScore, { user: alex.id })],
  ])
}
