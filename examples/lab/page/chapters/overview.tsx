import { useState } from 'preact/hooks'
import { chapters } from '../../contract/chapters.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card } from '../parts/card.tsx'
import { count } from '../parts/format.ts'
import { Failure, Notice } from '../parts/notice.tsx'
import { goTo } from '../router.ts'

export function Overview() {
  const status = live.status.value
  return (
    <div class="grid">
      <ol class="tiles wide">
        {chapters.slice(1).map((each) => (
          <li key={each.slug}>
            <a href={each.path} onClick={goTo}>
              <span class="number" aria-hidden="true">
                {each.number}
              </span>
              <strong>{each.title}</strong>
              <span>{each.lead}</span>
            </a>
          </li>
        ))}
      </ol>
      <Card title="What it runs on">
        {status === undefined ? (
          <p class="none">Asking the lab …</p>
        ) : (
          <dl class="facts">
            <dt>Database</dt>
            <dd>
              {status.database.name} <small>{status.database.why}</small>
            </dd>
            <dt>Cache</dt>
            <dd>
              {status.cache.name} <small>{status.cache.why}</small>
            </dd>
            <dt>Events</dt>
            <dd>
              {status.broker.name} <small>{status.broker.why}</small>
            </dd>
          </dl>
        )}
      </Card>
      <StartAfresh />
    </div>
  )
}

function StartAfresh() {
  const action = useAction('start-afresh')
  const [asked, setAsked] = useState(false)
  const counts = live.users.value?.counts
  const rows = counts === undefined ? '' : `${count(counts.users, 'user')} and ${count(counts.scores, 'score')}`
  return (
    <Card title="Start afresh" hint="Removes what the lab has stored: its own users, scores and events, and nothing else.">
      {asked ? (
        <fieldset class="row">
          <legend>Remove {rows}?</legend>
          <Button
            kind="danger"
            busy={action.busy}
            onClick={async () => {
              await action.run({})
              setAsked(false)
            }}
          >
            Remove all rows of the lab
          </Button>
          <Button onClick={() => setAsked(false)}>Keep them</Button>
        </fieldset>
      ) : (
        <div class="row">
          <Button kind="danger" onClick={() => setAsked(true)}>
            Start afresh …
          </Button>
          <span class="quiet">{rows} so far</span>
        </div>
      )}
      {action.result && <Notice tone="good">All rows of the lab are gone.</Notice>}
      <Failure failure={action.failure} />
    </Card>
  )
}
