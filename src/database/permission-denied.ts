import { causesOf, DataAccessError } from '../errors.ts'

/** SQLSTATE 42501, insufficient_privilege. It is also that of policies for rows, which are the application's own. */
const insufficientPrivilege = '42501'

/** Where in its source PostgreSQL refuses what no right was granted for: unlike the words, the same in all languages. */
const rightsCheck = 'aclcheck_error'

const refusedObject = /^permission denied for (?<kind>materialized view|foreign table|[a-z]+) (?<name>.+)$/
const simpleName = /^[a-z_][a-z0-9_]*$/

const grants: Readonly<Record<string, (name: string) => string>> = {
  schema: (name) =>
    `\`grant usage on schema ${name} to <role>\`; to migrate, its role needs \`grant usage, create on schema ${name} to <role>\``,
  table: (name) => `\`grant select, insert, update, delete on ${name} to <role>\``,
  view: (name) => `\`grant select on ${name} to <role>\``,
  sequence: (name) => `\`grant usage, select on sequence ${name} to <role>\``,
  function: (name) => `\`grant execute on function ${name} to <role>\``,
}

/** Recognises a refusal for want of a right, anywhere in the chain of causes, and returns it as `PERMISSION_DENIED` with the grant. */
export function permissionDenied(error: unknown): DataAccessError | undefined {
  for (const current of causesOf(error)) {
    if (current instanceof DataAccessError && current.code === 'PERMISSION_DENIED') return current
    const { code, routine } = current as { readonly code?: unknown; readonly routine?: unknown }
    if (code === insufficientPrivilege && routine === rightsCheck) return refused(current.message, error)
  }
  return undefined
}

function refused(message: string, cause: unknown): DataAccessError {
  // MikroORM may put the statement before the server's words.
  const words = /(permission denied for .*|(?<= - )(?!.* - ).*|^(?!.* - ).*)$/s.exec(message)?.[0] ?? message
  const { kind, name } = refusedObject.exec(words)?.groups ?? {}
  const grant = kind && name && grants[kind]?.(simpleName.test(name) ? name : `"${name}"`)
  const cure = grant ? `Let its owner run ${grant}` : 'Do it as the owner, or let the owner grant the right'
  return new DataAccessError(
    'PERMISSION_DENIED',
    `PostgreSQL refused a statement for want of a right: ${words}. ${cure}. docs/guides/connecting.md has all that the role of a service needs`,
    { cause, context: kind && name ? { kind, name } : {} },
  )
}
