import { useComputed } from '@preact/signals'
import { useMemo, useState } from 'preact/hooks'
import type { PoolPicture } from '../../contract/live.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card, NoRows, Table } from '../parts/card.tsx'
import { Chart } from '../parts/chart.tsx'
import { ms } from '../parts/format.ts'
import { Failure, Notice } from '../parts/notice.tsx'
import { Slider } from '../parts/slider.tsx'
import { Progress, Stat } from '../parts/stat.tsx'

export function Connectivity() {
  return (
    <div class="grid">
      <div class="stack">
        <WiringCard />
        <PoolCard />
      </div>
      <div class="stack">
        <InitialiseCard />
        <LoadCard />
      </div>
      <CurvesCard />
    </div>
  )
}

function WiringCard() {
  const status = live.status.value
  return (
    <Card title="What is in use, and why">
      {status === undefined ? (
        <p class="none">Asking the lab …</p>
      ) : (
        <dl class="facts">
          <dt>Database</dt>
          <dd>
            {status.database.name}
            <small>{status.database.why}</small>
            <small>
              {status.databaseHealth.ok ? `answers within ${ms(status.databaseHealth.latencyMs)}` : 'does not answer'}
            </small>
          </dd>
          <dt>Cache</dt>
          <dd>
            {status.cache.name}
            <small>{status.cache.why}</small>
            <small>{status.cacheHealth.ok ? `answers within ${ms(status.cacheHealth.latencyMs)}` : 'does not answer'}</small>
          </dd>
        </dl>
      )}
    </Card>
  )
}

function InitialiseCard() {
  const action = useAction('initialise')
  return (
    <Card title="Initialise" hint="Runs the migrations that are missing, and makes sure that Alex Smith and Jane Doe are there.">
      <div class="row">
        <Button kind="main" busy={action.busy} onClick={() => action.run({})}>
          Initialise and create sample users
        </Button>
      </div>
      {action.result && (
        <Notice tone="good">
          {action.result.migrations.length === 0 ? 'The tables are up to date.' : `Ran ${action.result.migrations.join(', ')}.`}
          <ul class="plain">
            {action.result.users.map(({ id, name }) => (
              <li key={id}>
                {name}: <code>{id}</code>
              </li>
            ))}
          </ul>
        </Notice>
      )}
      <Failure failure={action.failure} />
    </Card>
  )
}

function PoolCard() {
  const pool = live.pool.value
  return (
    <Card title="The pool, live" hint="A transaction holds a connection until it ends; who finds none free waits for his turn.">
      {pool && <PoolSlots pool={pool} />}
      <dl class="stats">
        <Stat name="In use" value={pool ? String(pool.inUse) : '–'} note={pool && `of at most ${pool.max}`} />
        <Stat name="Idle" value={pool ? String(pool.idle) : '–'} note="open and free" />
        <Stat name="Waiting" value={pool ? String(pool.waiting) : '–'} note="for a connection" />
      </dl>
    </Card>
  )
}

function PoolSlots({ pool }: { readonly pool: PoolPicture }) {
  const slots = Array.from({ length: pool.max }, (_, index) => {
    return index < pool.inUse ? 'in-use' : index < pool.size ? 'idle' : 'closed'
  })
  return (
    <div class="slots" aria-hidden="true">
      {slots.map((state, index) => (
        <span key={index} class={`slot ${state}`} />
      ))}
      <span class="queue">{pool.waiting > 0 ? `← ${pool.waiting} waiting` : ''}</span>
    </div>
  )
}

function LoadCard() {
  const run = useAction('run-load')
  const sweep = useAction('sweep-load')
  const stop = useAction('stop-load')
  const [requests, setRequests] = useState(400)
  const [concurrency, setConcurrency] = useState(16)
  const load = live.load.value
  const running = load?.running ?? null
  return (
    <Card title="Run a load" hint="A request is one unit of work: it finds a user, stores an assessment and commits.">
      <Slider min={100} max={2000} step={100} value={requests} onChoose={setRequests}>
        N = <output>{requests}</output> requests
      </Slider>
      <Slider min={1} max={64} value={concurrency} onChoose={setConcurrency}>
        C = <output>{concurrency}</output> at a time
      </Slider>
      <div class="row">
        <Button kind="main" busy={run.busy} disabled={running !== null} onClick={() => run.run({ requests, concurrency })}>
          Run the load
        </Button>
        <Button busy={sweep.busy} disabled={running !== null} onClick={() => sweep.run({ requests })}>
          Sweep C from 1 to 64
        </Button>
        <Button disabled={running === null} onClick={() => stop.run({})}>
          Stop
        </Button>
      </div>
      <Progress label="Requests done" done={running?.done ?? 0} total={running?.total ?? 0} />
      <p class="quiet" aria-live="polite">
        {running ? `Running at C = ${running.concurrency}` : 'No load is running.'}
      </p>
      {load?.error && <Notice tone="bad">The load ended: {load.error}</Notice>}
      <Failure failure={run.failure ?? sweep.failure ?? stop.failure} />
    </Card>
  )
}

function CurvesCard() {
  const points = useComputed(() => live.load.value?.points ?? []).value
  const x = useMemo(() => points.map(({ concurrency }) => concurrency), [points])
  const throughput = useMemo(
    () => [{ name: 'Θ', colour: '--line-1', values: points.map((point) => Math.round(point.throughput)) }],
    [points],
  )
  const latency = useMemo(
    () => [
      { name: 'median', colour: '--line-2', values: points.map(({ medianMs }) => medianMs) },
      { name: '95 of 100', colour: '--line-3', dashed: true, values: points.map(({ p95Ms }) => p95Ms) },
    ],
    [points],
  )
  return (
    <Card title="Throughput and latency against concurrency" hint="Θ = number of requests / total time." wide>
      <div class="charts">
        <Chart label="Throughput" x={x} lines={throughput} unit=" /s" xName="concurrency C" doubling />
        <Chart label="Time of a request" x={x} lines={latency} unit=" ms" xName="concurrency C" doubling />
      </div>
      <Table label="Measured" head={['C', 'N', 'Θ', 'Median', '95 of 100 within', 'Most waiting']}>
        {points.length === 0 && <NoRows columns={6}>Run a load to measure.</NoRows>}
        {points.map((point) => (
          <tr key={point.concurrency}>
            <td class="number">{point.concurrency}</td>
            <td class="number">{point.requests}</td>
            <td class="number">{Math.round(point.throughput)} /s</td>
            <td class="number">{ms(point.medianMs)}</td>
            <td class="number">{ms(point.p95Ms)}</td>
            <td class="number">{point.mostWaiting}</td>
          </tr>
        ))}
      </Table>
    </Card>
  )
}
