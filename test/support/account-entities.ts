import { defineEntity, type Opt, p, Type } from '@mikro-orm/core'
import { cachePolicy } from '../../src/cache/policy.ts'
import { idProps } from '../../src/database/entity-props.ts'
import { Author } from './cache-entities.ts'

/** A value of a class of its own, kept as whole cents. */
export class Money {
  readonly cents: number

  constructor(cents: number) {
    this.cents = cents
  }
}

class MoneyType extends Type<Money, number> {
  override convertToDatabaseValue(value: Money | number): number {
    return value instanceof Money ? value.cents : value
  }
  override convertToJSValue(value: number): Money {
    return new Money(value)
  }
  override getColumnType(): string {
    return 'integer'
  }
}

const AddressSchema = defineEntity({
  name: 'Address',
  embeddable: true,
  properties: { street: p.string(), city: p.string() },
})
export class Address extends AddressSchema.class {
  line(): string {
    return `${this.street}, ${this.city}`
  }
}
AddressSchema.setClass(Address)

/** With what entities may have beside plain columns. */
export const AccountSchema = defineEntity({
  name: 'Account',
  tableName: 'accounts',
  properties: {
    ...idProps,
    owner: () => p.manyToOne(Author).deleteRule('cascade').ref(),
    balance: p.type(MoneyType).$type<Money>(),
    home: () => p.embedded(Address),
    former: () => p.embedded(Address).array(),
  },
})
export class Account extends AccountSchema.class {
  get rich(): Opt<boolean> {
    return this.balance.cents > 100_000_00
  }
  owes(): boolean {
    return this.balance.cents < 0
  }
}
AccountSchema.setClass(Account)

/** Two classes in one table. */
export const PlanSchema = defineEntity({
  name: 'Plan',
  tableName: 'plans',
  discriminatorColumn: 'kind',
  discriminatorValue: 'plan',
  properties: { ...idProps, kind: p.string().$type<Opt<string>>(), name: p.string() },
})
export class Plan extends PlanSchema.class {}
PlanSchema.setClass(Plan)

export const PaidPlanSchema = defineEntity({
  name: 'PaidPlan',
  extends: PlanSchema,
  discriminatorValue: 'paid',
  properties: { price: p.integer().nullable() },
})
export class PaidPlan extends PaidPlanSchema.class {
  free(): boolean {
    return (this.price ?? 0) === 0
  }
}
PaidPlanSchema.setClass(PaidPlan)

/** Two classes with a table each. */
export const MediumSchema = defineEntity({
  name: 'Medium',
  tableName: 'media',
  inheritance: 'tpt',
  properties: { ...idProps, name: p.string() },
})
export class Medium extends MediumSchema.class {}
MediumSchema.setClass(Medium)

export const PhotoSchema = defineEntity({
  name: 'Photo',
  tableName: 'photos',
  extends: MediumSchema,
  properties: { takenAt: p.datetime(), thumbnail: p.blob(), tags: p.json<string[]>() },
})
export class Photo extends PhotoSchema.class {}
PhotoSchema.setClass(Photo)

/** With plain columns and dates alone. */
export const VisitSchema = defineEntity({
  name: 'Visit',
  tableName: 'visits',
  properties: {
    ...idProps,
    name: p.string(),
    guests: p.integer(),
    length: p.double().$type<number>(),
    paid: p.boolean(),
    from: p.datetime(),
    to: p.datetime().nullable(),
  },
})
export class Visit extends VisitSchema.class {}
VisitSchema.setClass(Visit)

/** Whose date and text stand behind references. */
export const StaySchema = defineEntity({
  name: 'Stay',
  tableName: 'stays',
  properties: { ...idProps, guest: p.string().ref(), from: p.datetime().ref() },
})
export class Stay extends StaySchema.class {}
StaySchema.setClass(Stay)

export const stayPolicy = cachePolicy(Stay, { ttl: 60_000 })
export const visitPolicy = cachePolicy(Visit, { ttl: 60_000 })
export const mediumPolicy = cachePolicy(Medium, { ttl: 60_000 })
export const accountPolicy = cachePolicy(Account, { ttl: 60_000 })
export const planPolicy = cachePolicy(Plan, { ttl: 60_000 })
