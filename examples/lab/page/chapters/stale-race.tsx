import type { RaceLane } from '../../contract/results.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card } from '../parts/card.tsx'
import { Failure } from '../parts/notice.tsx'

const steps = [
  { does: 'A slow reader finds nothing cached, and reads the score 71 from the database.', button: 'Let the slow reader load' },
  { does: 'A unit of work commits the score 93. Both caches are told to forget.', button: 'Commit the score 93' },
  { does: 'The slow reader goes on, and puts the 71 in its hand into the cache.', button: 'Let the slow reader fill the cache' },
  { does: 'Somebody reads who comes after all of that.', button: 'Read again' },
]

/** The interleaving that makes a hand-written cache stale for good. */
export function RaceCard() {
  const step = useAction('step-race')
  const restart = useAction('restart-race')
  const race = live.cache.value?.race
  const at = race?.step ?? 0
  return (
    <Card
      title="The stale-set race"
      hint="Four steps that happen under load sooner or later. On the left a cache as it is often written by hand, on the right ours."
      wide
    >
      <ol class="steps">
        {steps.map(({ does }, index) => (
          <li key={does} class={index < at ? 'done' : ''} aria-current={index === at ? 'step' : undefined}>
            {does}
          </li>
        ))}
      </ol>
      <div class="row">
        <Button kind="main" busy={step.busy} onClick={() => step.run({})}>
          {steps[at] ? `${at + 1}. ${steps[at].button}` : 'Begin anew'}
        </Button>
        {at > 0 && at < steps.length && <Button onClick={() => restart.run({})}>Begin anew</Button>}
        <span class="quiet">
          The database holds <strong>{race?.database ?? '–'}</strong>
        </span>
      </div>
      <div class="lanes">
        <Lane name="A naive cache" lane={race?.naive} database={race?.database} />
        <Lane name="Our cache" lane={race?.ours} database={race?.database} />
      </div>
      <Failure failure={step.failure ?? restart.failure} />
    </Card>
  )
}

function Lane(props: { readonly name: string; readonly lane: RaceLane | undefined; readonly database: number | undefined }) {
  const { lane, database } = props
  const stale = lane?.answer !== undefined && lane.answer !== null && lane.answer !== database
  const told = lane?.answer === null || lane === undefined ? '' : stale ? 'stale' : 'fresh'
  return (
    <section class={`lane ${told}`} aria-label={props.name}>
      <h3>{props.name}</h3>
      <dl class="facts">
        <dt>In the reader's hand</dt>
        <dd>{lane?.inHand ?? '–'}</dd>
        <dt>The reader's fill</dt>
        <dd>
          {lane === undefined || lane.refused === null ? '–' : lane.refused ? 'refused: a commit came between' : 'accepted'}
        </dd>
        <dt>In the cache</dt>
        <dd>{lane?.cached ?? 'nothing'}</dd>
        <dt>A later read gives</dt>
        <dd>
          {lane?.answer ?? '–'}{' '}
          {told !== '' && <span class={`badge ${stale ? 'dead' : 'hit'}`}>{stale ? 'stale, until it expires' : 'right'}</span>}
        </dd>
      </dl>
    </section>
  )
}
