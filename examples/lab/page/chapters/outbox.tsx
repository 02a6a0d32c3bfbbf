import { useSignal } from '@preact/signals'
import type { BrokerSwitches } from '../../contract/results.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card } from '../parts/card.tsx'
import { count } from '../parts/format.ts'
import { Failure, Notice } from '../parts/notice.tsx'
import { Slider } from '../parts/slider.tsx'
import { Progress, Stat } from '../parts/stat.tsx'
import { ArrivalsCard, DeadLettersCard, PendingCard, PublishedCard } from './outbox-lists.tsx'
import { WavesCard } from './outbox-waves.tsx'

export function Outbox() {
  return (
    <div class="grid">
      <div class="stack">
        <RecordCard />
        <BrokerCard />
      </div>
      <RelayCard />
      <WavesCard />
      <PendingCard />
      <PublishedCard />
      <ArrivalsCard />
      <DeadLettersCard />
    </div>
  )
}

function RecordCard() {
  const calculate = useAction('calculate-score')
  const batch = useAction('record-batch')
  const stored = calculate.result
  return (
    <Card title="Record events" hint="A score and its event commit in one transaction: both are there, or neither is.">
      <div class="row">
        <Button kind="main" busy={calculate.busy} onClick={() => calculate.run({ poisoned: false })}>
          Calculate and store a score
        </Button>
        <Button busy={batch.busy} onClick={() => batch.run({ users: 6, scores: 8 })}>
          6 users × 8 scores
        </Button>
        <Button busy={calculate.busy} onClick={() => calculate.run({ poisoned: true })}>
          A score with a poisoned event
        </Button>
      </div>
      {stored && (
        <Notice tone="good">
          Stored the score <strong>{stored.airScore.toFixed(2)}</strong>, and with it the event <code>{stored.eventId}</code>:{' '}
          {stored.status}.
        </Notice>
      )}
      {batch.result && <Notice tone="good">Recorded {count(batch.result.events, 'event')} in 8 transactions.</Notice>}
      <Failure failure={calculate.failure ?? batch.failure} />
    </Card>
  )
}

function RelayCard() {
  const drain = useAction('drain-outbox')
  const start = useAction('start-relay')
  const stop = useAction('stop-relay')
  const picture = live.outbox.value
  const state = picture?.relay.state ?? 'stopped'
  return (
    <Card title="Relay them" hint="The relay takes pending events in the order of their keys, publishes them and marks them.">
      <div class="row">
        <Button kind="main" busy={drain.busy} disabled={state !== 'stopped'} onClick={() => drain.run({})}>
          Run the relay once
        </Button>
        <Button busy={start.busy} disabled={state !== 'stopped'} onClick={() => start.run({})}>
          Start and keep running
        </Button>
        <Button busy={stop.busy} disabled={state === 'stopped'} onClick={() => stop.run({})}>
          Stop the relay
        </Button>
      </div>
      <Progress label="Published of what was pending" done={picture?.progress.done ?? 0} total={picture?.progress.total ?? 0} />
      <dl class="stats">
        <Stat
          name="Relay"
          value={state}
          note={
            picture?.relay.paused
              ? `paused: the ${picture.relay.paused} is away`
              : count(picture?.relay.inHand ?? 0, 'event in hand', 'events in hand')
          }
        />
        <Stat name="Pending" value={String(picture?.backlog ?? '–')} />
        <Stat name="Published" value={String(picture?.publishedCount ?? '–')} />
        <Stat name="Arrived" value={String(picture?.arrivalCount ?? '–')} note="at the subscriber" />
      </dl>
      {drain.result && !drain.busy && (
        <Notice tone="good">
          Drained: {drain.result.published} published, {drain.result.retried} to try again,{' '}
          {count(drain.result.deadLettered, 'dead letter')}.
        </Notice>
      )}
      <Failure failure={drain.failure ?? start.failure ?? stop.failure} />
    </Card>
  )
}

function BrokerCard() {
  const action = useAction('set-broker')
  // What was just chosen shows at once; what the lab answers, and tells all windows, comes after it.
  const chosen = useSignal<BrokerSwitches | undefined>(undefined)
  const { up, latencyMs } = chosen.value ?? live.outbox.value?.broker ?? { up: true, latencyMs: 150 }
  const choose = async (switches: BrokerSwitches) => {
    chosen.value = switches
    const broker = await action.run(switches)
    if (broker && live.outbox.value) live.outbox.value = { ...live.outbox.value, broker }
    if (chosen.value === switches) chosen.value = undefined
  }
  return (
    <Card
      title="The broker"
      hint="An outage is not a failure: while the broker is down nothing is published and no attempt is spent."
    >
      <div class="switches">
        <label class="switch">
          <input type="checkbox" checked={!up} onChange={(event) => choose({ up: !event.currentTarget.checked, latencyMs })} />
          Broker down
        </label>
        <Slider min={0} max={500} step={50} value={latencyMs} late onChoose={(chosenMs) => choose({ up, latencyMs: chosenMs })}>
          Takes <output>{latencyMs} ms</output> for a wave
        </Slider>
      </div>
      <Failure failure={action.failure} />
    </Card>
  )
}
