import { defineEntity, type Opt, p } from '@mikro-orm/core'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'

// Entities of which one changes what is known of another, in every way in which that can be.

export const TeamSchema = defineEntity({
  name: 'Team',
  tableName: 'teams',
  properties: {
    id: p.integer().primary(),
    name: p.string(),
    members: () => p.oneToMany(Member).mappedBy('team'),
    badges: () => p.oneToMany(Badge).mappedBy('team').orphanRemoval(),
    labels: () => p.manyToMany(Label).pivotEntity(() => TeamLabel),
    profile: () => p.oneToOne(Profile).mappedBy('team').ref().nullable(),
  },
})
export class Team extends TeamSchema.class {}
TeamSchema.setClass(Team)

export const MemberSchema = defineEntity({
  name: 'Member',
  tableName: 'members',
  properties: {
    id: p.integer().primary(),
    team: () => p.manyToOne(Team).nullable().updateRule('cascade').ref(),
    title: p.text().nullable(),
    state: p.text().$type<Opt<string>>().default('open'),
    code: p.text().unique().nullable(),
  },
})
export class Member extends MemberSchema.class {}
MemberSchema.setClass(Member)

export const BadgeSchema = defineEntity({
  name: 'Badge',
  tableName: 'badges',
  properties: { id: p.integer().primary(), team: () => p.manyToOne(Team).ref(), title: p.text() },
})
export class Badge extends BadgeSchema.class {}
BadgeSchema.setClass(Badge)

export const LabelSchema = defineEntity({
  name: 'Label',
  tableName: 'labels',
  properties: { id: p.integer().primary(), text: p.text() },
})
export class Label extends LabelSchema.class {}
LabelSchema.setClass(Label)

export const TeamLabelSchema = defineEntity({
  name: 'TeamLabel',
  tableName: 'team_labels',
  properties: { team: () => p.manyToOne(Team).primary().ref(), label: () => p.manyToOne(Label).primary().ref() },
})
export class TeamLabel extends TeamLabelSchema.class {}
TeamLabelSchema.setClass(TeamLabel)

export const ProfileSchema = defineEntity({
  name: 'Profile',
  tableName: 'profiles',
  properties: { id: p.integer().primary(), team: () => p.oneToOne(Team).owner().nullable().ref(), bio: p.text() },
})
export class Profile extends ProfileSchema.class {}
ProfileSchema.setClass(Profile)

export const VehicleSchema = defineEntity({
  name: 'Vehicle',
  tableName: 'vehicles',
  discriminatorColumn: 'kind',
  discriminatorValue: 'vehicle',
  properties: { id: p.integer().primary(), kind: p.string().$type<Opt<string>>(), name: p.text() },
})
export class Vehicle extends VehicleSchema.class {}
VehicleSchema.setClass(Vehicle)

export const CarSchema = defineEntity({
  name: 'Car',
  extends: VehicleSchema,
  discriminatorValue: 'car',
  properties: { doors: p.integer().nullable() },
})
export class Car extends CarSchema.class {}
CarSchema.setClass(Car)

export const TicketSchema = defineEntity({
  name: 'Ticket',
  tableName: 'tickets',
  properties: { id: p.integer().primary(), car: () => p.manyToOne(Car).deleteRule('cascade').ref(), text: p.text() },
})
export class Ticket extends TicketSchema.class {}
TicketSchema.setClass(Ticket)

export const NickSchema = defineEntity({
  name: 'Nick',
  tableName: 'nicks',
  properties: {
    id: p.integer().primary(),
    name: p.text(),
    lower: p.text().$type<Opt<string>>().generated('(lower(name)) stored').unique().nullable(),
  },
})
export class Nick extends NickSchema.class {}
NickSchema.setClass(Nick)

export const nickPolicy = cachePolicy(Nick, { uniques: ['lower'] })
export const memberPolicy = cachePolicy(Member, { uniques: ['code'] })

const titlesWhere = (name: 'team' | 'title' | 'state') =>
  cachedQuery({
    name: `members by ${name}`,
    dependsOn: (given: { value: number | string | null }) => [dep(Member, { [name]: given.value })],
    run: async (em, { value }) => {
      const found = await em.find(Member, { [name]: value } as never, { orderBy: { id: 1 } })
      return found.map(({ id, title }) => `${id} ${title}`)
    },
  })
export const [byTeam, byTitle, byState] = [titlesWhere('team'), titlesWhere('title'), titlesWhere('state')] as const

export const labelled = cachedQuery({
  name: 'labelled',
  dependsOn: () => [dep(Team), dep(Label)],
  run: async (em, { text }: { text: string }) =>
    (await em.find(Team, { labels: { text } }, { orderBy: { id: 1 } })).map(({ id }) => id),
})
export const labelledByPivot = cachedQuery({
  name: 'labelledByPivot',
  dependsOn: ({ label }: { label: number }) => [dep(TeamLabel, { label })],
  run: async (em, { label }) => (await em.find(TeamLabel, { label }, { orderBy: { team: 1 } })).map(({ team }) => team.id),
})
export const nicksLike = cachedQuery({
  name: 'nicksLike',
  dependsOn: ({ lower }: { lower: string }) => [dep(Nick, { lower })],
  run: async (em, { lower }) => (await em.find(Nick, { lower })).map(({ id }) => id),
})

export const relationEntities = [
  TeamSchema,
  MemberSchema,
  BadgeSchema,
  LabelSchema,
  TeamLabelSchema,
  ProfileSchema,
  VehicleSchema,
  CarSchema,
  TicketSchema,
  NickSchema,
]

export const relationCaches = [
  ...[
    cachePolicy(Team),
    memberPolicy,
    cachePolicy(Badge),
    cachePolicy(Profile),
    cachePolicy(Vehicle),
    cachePolicy(Ticket),
    nickPolicy,
  ],
  ...[byTeam, byTitle, byState, labelled, labelledByPivot, nicksLike],
]
