import { useEffect, useState } from 'preact/hooks'
import type { EntityPicture } from '../../contract/entities.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card, NoRows, Table } from '../parts/card.tsx'
import { EntityDiagram } from '../parts/entity-diagram.tsx'
import { clock, count, shortId } from '../parts/format.ts'
import { Failure, Notice } from '../parts/notice.tsx'

export function DataModels() {
  const [entities, setEntities] = useState<readonly EntityPicture[]>([])
  useEffect(() => {
    fetch('/api/entities')
      .then((response) => response.json())
      .then(setEntities)
      .catch(() => setEntities([]))
  }, [])
  return (
    <div class="grid">
      <Card title="Entities and relations" hint="Read from the metadata of the ORM that this lab runs on." wide>
        <EntityDiagram entities={entities} />
      </Card>
      <UserForm />
      <UsersCard />
    </div>
  )
}

function UserForm() {
  const action = useAction('create-user')
  const [email, setEmail] = useState('')
  const [name, setName] = useState('')
  const fields = action.failure?.fields ?? {}
  const taken = live.users.value?.newest[0]?.email ?? 'alex.smith@innovateai.dev'
  const fill = (newEmail: string, newName: string) => {
    setEmail(newEmail)
    setName(newName)
  }
  const fresh = () => `developer-${Date.now().toString(36)}@example.com`
  return (
    <Card
      title="Create a user"
      hint="The form lets you try anything; the lab checks it, and the database has the last word."
      wide
    >
      <form
        class="form"
        noValidate
        onSubmit={async (event) => {
          event.preventDefault()
          if ((await action.run({ email, name })) !== undefined) fill('', '')
        }}
      >
        <div class="fields">
          <Field label="E-mail" value={email} onInput={setEmail} error={fields.email} />
          <Field label="Name" value={name} onInput={setName} error={fields.name} />
        </div>
        <div class="row">
          <Button kind="main" busy={action.busy} submits>
            Create user
          </Button>
        </div>
        <div class="row">
          <span class="quiet">Fill in:</span>
          <Button kind="small" onClick={() => fill(fresh(), 'Developer User')}>
            what fits
          </Button>
          <Button kind="small" onClick={() => fill(taken, 'Somebody Else')}>
            a taken e-mail
          </Button>
          <Button kind="small" onClick={() => fill(fresh(), '')}>
            an empty name
          </Button>
          <Button kind="small" onClick={() => fill(fresh(), 'N'.repeat(10_000))}>
            10,000 characters
          </Button>
        </div>
      </form>
      {action.result && (
        <Notice tone="good">
          Created {action.result.name}: <code>{action.result.id}</code>
        </Notice>
      )}
      {action.failure?.fields === undefined && <Failure failure={action.failure} />}
    </Card>
  )
}

function Field(props: {
  readonly label: string
  readonly value: string
  readonly error: string | undefined
  readonly onInput: (value: string) => void
}) {
  const id = `field-${props.label.toLowerCase()}`
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type="text"
        value={props.value}
        autocomplete="off"
        aria-invalid={props.error !== undefined}
        aria-describedby={props.error === undefined ? undefined : `${id}-error`}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      {props.error !== undefined && (
        <p class="field-error" id={`${id}-error`} role="alert">
          {props.error}
        </p>
      )}
    </div>
  )
}

function UsersCard() {
  const remove = useAction('remove-user')
  const table = live.users.value
  const hint =
    table &&
    `${count(table.counts.users, 'user')}, ${count(table.counts.assessments, 'assessment')} and ${count(table.counts.scores, 'score')} in all; the newest users first.`
  return (
    <Card title="Rows of users" hint={hint} wide>
      <Table label="Users" head={['Id', 'Name', 'E-mail', 'Scores', 'Created', 'Remove']} tall>
        {(table === undefined || table.newest.length === 0) && <NoRows columns={6}>No users yet.</NoRows>}
        {table?.newest.map((user) => (
          <tr key={user.id}>
            <td>
              <code title={user.id}>{shortId(user.id)}</code>
            </td>
            <td class="clipped">{user.name}</td>
            <td>{user.email}</td>
            <td class="number">{user.scores}</td>
            <td class="number">{clock(user.createdAt)}</td>
            <td>
              <Button kind="small" label={`Remove ${user.email}`} onClick={() => remove.run({ id: user.id })}>
                Remove
              </Button>
            </td>
          </tr>
        ))}
      </Table>
      <Failure failure={remove.failure} />
    </Card>
  )
}
