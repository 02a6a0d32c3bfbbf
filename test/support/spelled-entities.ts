import { defineEntity, type Platform, p, Type } from '@mikro-orm/core'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'

const isSqlite = (platform: Platform) => platform.constructor.name.includes('Sqlite')

/** `u_7` in the program, `7` in a column of text. */
class Prefixed extends Type<string, string> {
  override convertToDatabaseValue(value: string): string {
    return value.replace(/^u_/, '')
  }
  override convertToJSValue(value: string): string {
    return `u_${value}`
  }
  override getColumnType(): string {
    return 'text'
  }
}

/** Hexadecimal text in the program, bytes in the database. */
class Hex extends Type<string, Buffer> {
  override convertToDatabaseValue(value: string): Buffer {
    return Buffer.from(value, 'hex')
  }
  override convertToJSValue(value: Buffer | string): string {
    return typeof value === 'string' ? value : Buffer.from(value).toString('hex')
  }
  override compareAsType(): string {
    return 'Buffer'
  }
  override getColumnType(_property: unknown, platform: Platform): string {
    return isSqlite(platform) ? 'blob' : 'bytea'
  }
}

const MemberSchema = defineEntity({
  name: 'Member',
  properties: {
    id: p.type(new Prefixed()).$type<string>().primary(),
    handle: p.type(new Prefixed()).$type<string>().unique(),
    name: p.string(),
  },
})
export class Member extends MemberSchema.class {}
MemberSchema.setClass(Member)
export const memberCache = cachePolicy(Member, { uniques: ['handle'] })
export const membersNamed = cachedQuery({
  name: 'membersNamed',
  dependsOn: (v: { name: string }) => [dep(Member, { name: v.name })],
  run: (em, v) => em.find(Member, { name: v.name }),
})

/** Written by the database in another form than it is given. */
class Lowered extends Type<string, string> {
  override convertToDatabaseValueSQL(key: string): string {
    return `lower(${key})`
  }
  override getColumnType(): string {
    return 'text'
  }
}

const MailSchema = defineEntity({
  name: 'Mail',
  properties: { id: p.integer().primary(), address: p.type(new Lowered()).$type<string>().unique() },
})
export class Mail extends MailSchema.class {}
MailSchema.setClass(Mail)
export const mailCache = cachePolicy(Mail, { uniques: ['address'] })

/** Classes with a table each, of which one has a unique property that the others do not know. */
const VehicleSchema = defineEntity({
  name: 'Vehicle',
  inheritance: 'tpt',
  properties: { id: p.integer().primary(), name: p.string() },
})
export class Vehicle extends VehicleSchema.class {}
VehicleSchema.setClass(Vehicle)
const CarSchema = defineEntity({ name: 'Car', extends: VehicleSchema, properties: { plate: p.string().unique() } })
export class Car extends CarSchema.class {}
CarSchema.setClass(Car)
const BikeSchema = defineEntity({ name: 'Bike', extends: VehicleSchema, properties: { gears: p.integer() } })
export class Bike extends BikeSchema.class {}
BikeSchema.setClass(Bike)
export const carCache = cachePolicy(Car, { uniques: ['plate'] })

const BlobSchema = defineEntity({
  name: 'Blob',
  properties: {
    id: p.type(new Hex()).$type<string>().primary(),
    digest: p.blob().unique(),
    name: p.string(),
  },
})
export class Blob extends BlobSchema.class {}
BlobSchema.setClass(Blob)
export const blobCache = cachePolicy(Blob, { uniques: ['digest'] })

/** Its ids are of MikroORM's own type, which takes every spelling that PostgreSQL takes. */
const OwnerSchema = defineEntity({ name: 'Owner', properties: { id: p.uuid().primary(), name: p.string() } })
export class Owner extends OwnerSchema.class {}
OwnerSchema.setClass(Owner)
const PetSchema = defineEntity({
  name: 'Pet',
  properties: {
    id: p.integer().primary(),
    owner: () => p.manyToOne(Owner).ref(),
    chip: p.uuid().unique().nullable(),
    name: p.string(),
  },
})
export class Pet extends PetSchema.class {}
PetSchema.setClass(Pet)
export const ownerCache = cachePolicy(Owner)
export const petCache = cachePolicy(Pet, { uniques: ['chip'] })
export const petsOf = cachedQuery({
  name: 'petsOf',
  dependsOn: (v: { owner: string }) => [dep(Pet, { owner: v.owner })],
  run: async (em, v) => (await em.find(Pet, { owner: v.owner } as never)).map(({ name }) => name),
})

const SlugSchema = defineEntity({ name: 'Slug', properties: { id: p.string().length(250).primary(), name: p.string() } })
export class Slug extends SlugSchema.class {}
SlugSchema.setClass(Slug)
export const slugCache = cachePolicy(Slug, { ttl: 30, negativeTtl: 30, jitter: 0, serveStale: 60_000 })

const LedgerSchema = defineEntity({
  name: 'Ledger',
  properties: {
    id: p.bigint('string').primary(),
    price: p.decimal().precision(8).scale(2).$type<string>().unique(),
    code: p.string().length(3).unique().nullable(),
    count: p.integer().default(0),
    open: p.boolean().default(false),
    title: p.string().default(''),
    unique: p.boolean().default(false),
  },
})
export class Ledger extends LedgerSchema.class {}
LedgerSchema.setClass(Ledger)
export const ledgerCache = cachePolicy(Ledger, { uniques: ['price', 'code'] })
const ledgersBy = (name: 'count' | 'open' | 'title') =>
  cachedQuery({
    name: `ledgersBy ${name}`,
    dependsOn: (v: { value: unknown }) => [dep(Ledger, { [name]: v.value })],
    run: async (em, v) => (await em.find(Ledger, { [name]: v.value } as never)).map(({ id }) => id),
  })
export const [ledgersByCount, ledgersByOpen, ledgersByTitle] = [ledgersBy('count'), ledgersBy('open'), ledgersBy('title')]

const PriceSchema = defineEntity({
  name: 'Price',
  properties: { id: p.decimal().precision(8).scale(2).$type<string>().primary(), name: p.string() },
})
export class Price extends PriceSchema.class {}
PriceSchema.setClass(Price)
export const priceCache = cachePolicy(Price)

/** All of them, as a module. */
export const spelledModule = {
  name: 'spelled',
  entities: [Member, Mail, Vehicle, Car, Bike, Blob, Owner, Pet, Slug, Ledger, Price],
  caches: [
    ...[
      memberCache,
      membersNamed,
      mailCache,
      carCache,
      blobCache,
      ownerCache,
      petCache,
      petsOf,
      slugCache,
      ledgerCache,
      priceCache,
    ],
    ...[ledgersByCount, ledgersByOpen, ledgersByTitle],
  ],
}
