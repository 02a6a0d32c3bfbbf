import type { DataAccess } from '@innovateai/data-access'
import { AIRScore, Assessment, User } from '@innovateai/data-access/assessment'
import { DomainEvent } from '@innovateai/data-access/outbox'
import { type EntityClass, type EntityProperty, ReferenceKind, UniqueConstraintViolationException } from '@mikro-orm/core'
import type { EntityPicture } from '../contract/entities.ts'
import type { UserTable } from '../contract/live.ts'
import type { CreatedUser, TableCounts } from '../contract/results.ts'
import { LabRefusal } from './lab-refusal.ts'
import { countRows } from './sample-rows.ts'

/** Entities, columns and relations, as the library itself knows them. */
export function drawEntities(data: DataAccess): EntityPicture[] {
  // #region metadata
  const entities: readonly EntityClass<object>[] = [User, Assessment, AIRScore, DomainEvent]
  const metadata = entities.map((entity) => data.orm.getMetadata().get(entity))
  // #endregion
  return metadata.map(({ className, tableName, props }) => ({
    name: className,
    table: tableName,
    columns: props.filter(({ fieldNames }) => fieldNames !== undefined).map(drawColumn),
    collections: props.filter(({ kind }) => kind === ReferenceKind.ONE_TO_MANY).map(({ name, type }) => ({ name, entity: type })),
  }))
}

function drawColumn(property: EntityProperty): EntityPicture['columns'][number] {
  const { fieldNames, columnTypes, primary, unique, nullable, kind, targetMeta } = property
  return {
    name: fieldNames[0] as string,
    type: columnTypes[0] ?? property.type,
    primary: primary === true,
    unique: unique !== undefined && unique !== false,
    nullable: nullable === true,
    references: kind === ReferenceKind.MANY_TO_ONE ? (targetMeta?.className ?? null) : null,
  }
}

// #region create-user
/** Creates a user; two who do it at once with one address are told apart by the unique index alone. */
export async function createUser(data: DataAccess, form: { email: string; name: string }): Promise<CreatedUser> {
  try {
    const { id, email, name } = await data.unitOfWork(async ({ em }) => em.create(User, form))
    return { id, email, name }
  } catch (error) {
    if (error instanceof UniqueConstraintViolationException) throw emailTaken(form.email)
    throw error
  }
}
// #endregion

function emailTaken(email: string): LabRefusal {
  const message = `${email} is taken: every user has an address of his own`
  return new LabRefusal({ code: 'EMAIL_TAKEN', message, fields: { email: message } })
}

// #region remove-user
export async function removeUser(data: DataAccess, id: string): Promise<TableCounts> {
  await data.unitOfWork(async ({ em }) => {
    em.remove(await em.getRepository(User).getOrFail(id)) // and with him his assessments and scores
  })
  return countRows(data)
}
// #endregion

export async function listUsers(data: DataAccess): Promise<UserTable> {
  const em = data.fork()
  const users = await em.find(User, {}, { orderBy: { id: 'desc' }, limit: 12, populate: ['scores:ref', 'assessments:ref'] })
  const newest = users.map(({ id, email, name, createdAt, scores, assessments }) => {
    return { id, email, name, createdAt: createdAt.toISOString(), scores: scores.length, assessments: assessments.length }
  })
  return { counts: await countRows(data), newest }
}
