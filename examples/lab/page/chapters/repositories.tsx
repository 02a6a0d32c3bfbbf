import { useState } from 'preact/hooks'
import type { FetchCost } from '../../contract/results.ts'
import { useAction } from '../act.ts'
import { Button } from '../parts/button.tsx'
import { Card } from '../parts/card.tsx'
import { count, ms } from '../parts/format.ts'
import { Failure, Notice } from '../parts/notice.tsx'
import { Slider } from '../parts/slider.tsx'
import { Stat } from '../parts/stat.tsx'

export function Repositories() {
  const [users, setUsers] = useState(25)
  const add = useAction('add-sample-scores')
  const fetchScores = useAction('fetch-scores')
  const comparison = fetchScores.result
  const saved = comparison && comparison.loop.milliseconds / comparison.eager.milliseconds
  return (
    <div class="grid">
      <Card
        title="How many users?"
        hint="Both ways read the same users with all of their scores. Missing users are created first."
        wide
      >
        <Slider min={1} max={500} value={users} onChoose={setUsers}>
          <output>{users}</output> {users === 1 ? 'user' : 'users'}
        </Slider>
        <div class="row">
          <Button kind="main" busy={fetchScores.busy} onClick={() => fetchScores.run({ users })}>
            Fetch in both ways
          </Button>
          <Button busy={add.busy} onClick={() => add.run({ users })}>
            Add 3 sample scores to each
          </Button>
        </div>
        {add.result && <Notice tone="good">There are {count(add.result.scores, 'score')} in the database now.</Notice>}
        {comparison && saved !== undefined && (
          <Notice tone="plain">
            {count(comparison.loop.queries, 'query', 'queries')} became {comparison.eager.queries}, and{' '}
            {ms(comparison.loop.milliseconds)} became {ms(comparison.eager.milliseconds)}: {saved.toFixed(1)}× as fast.
          </Notice>
        )}
        <Failure failure={add.failure ?? fetchScores.failure} />
      </Card>
      <CostCard title="N+1: one query for each user" cost={comparison?.loop} most={comparison?.loop.milliseconds} bad />
      <CostCard title="Eager: populate the scores" cost={comparison?.eager} most={comparison?.loop.milliseconds} />
      <Card title="What the N+1 guard says" hint="In tests, nPlusOne: 'throw' fails what would be slow in production." wide>
        {comparison === undefined ? (
          <p class="none">Fetch first: the guard watches the loop.</p>
        ) : comparison.guard === undefined ? (
          <p class="none">Nothing is suspect with fewer than three queries of one shape.</p>
        ) : (
          <p class="guard">{comparison.guard}</p>
        )}
      </Card>
    </div>
  )
}

function CostCard(props: {
  readonly title: string
  readonly cost: FetchCost | undefined
  readonly most: number | undefined
  readonly bad?: boolean
}) {
  const { cost, most } = props
  return (
    <Card title={props.title}>
      <dl class="stats">
        <Stat name="Queries" value={cost ? cost.queries.toLocaleString('en') : '–'} />
        <Stat name="Time" value={cost ? ms(cost.milliseconds) : '–'} />
        <Stat name="Read" value={cost ? String(cost.users) : '–'} note={cost && `users with ${count(cost.scores, 'score')}`} />
      </dl>
      <div class={props.bad ? 'bar bad' : 'bar'} aria-hidden="true">
        <span style={{ width: `${Math.min(100, (100 * (cost?.milliseconds ?? 0)) / (most ?? 1))}%` }} />
      </div>
      {cost && <Shapes cost={cost} />}
      {cost && <Statements title={props.title} cost={cost} />}
    </Card>
  )
}

function Shapes({ cost }: { readonly cost: FetchCost }) {
  return (
    <ul class="shapes">
      {cost.shapes.map(({ sql, count: times }) => (
        <li key={sql}>
          <span class="times">{times} ×</span> <code>{sql}</code>
        </li>
      ))}
    </ul>
  )
}

function Statements({ title, cost }: { readonly title: string; readonly cost: FetchCost }) {
  return (
    <details>
      <summary>Each of the {count(cost.statements.length, 'statement')}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <ol class="statements" tabIndex={0} aria-label={`Statements of ${title}`}>
        {cost.statements.map(({ sql, params, rows, durationMs }, index) => (
          <li key={index}>
            <code>{sql}</code>
            <small>
              {params} → {count(rows, 'row')}, {ms(durationMs)}
            </small>
          </li>
        ))}
      </ol>
    </details>
  )
}
