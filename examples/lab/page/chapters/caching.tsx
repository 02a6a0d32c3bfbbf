import { useComputed, useSignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { CacheRead } from '../../contract/results.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card, NoRows, Table } from '../parts/card.tsx'
import { Chart } from '../parts/chart.tsx'
import { ms, percent } from '../parts/format.ts'
import { Failure, Notice } from '../parts/notice.tsx'
import { Stat } from '../parts/stat.tsx'
import { RaceCard } from './stale-race.tsx'

/** What this window read or did, the newest first. */
type Line = ({ readonly kind: 'read' } & CacheRead) | { readonly kind: 'note'; readonly text: string }

export function Caching() {
  const lines = useSignal<readonly Line[]>([])
  const add = (line: Line) => {
    lines.value = [line, ...lines.value].slice(0, 12)
  }
  return (
    <div class="grid">
      <ReadCard add={add} />
      <FiguresCard />
      <Card title="What was read, and what answered" wide>
        <Table label="Reads of this window" head={['Read', 'Gives', 'Outcome', 'Answered by', 'Queries', 'Time']}>
          {lines.value.length === 0 && (
            <NoRows columns={6}>Press a button above: the first read is a miss, the second a hit.</NoRows>
          )}
          {lines.value.map((line, index) => (
            <ReadRow key={lines.value.length - index} line={line} />
          ))}
        </Table>
      </Card>
      <CourseCard />
      <RaceCard />
    </div>
  )
}

function ReadRow({ line }: { readonly line: Line }) {
  if (line.kind === 'note') {
    return (
      <tr class="remark">
        <td colSpan={6}>{line.text}</td>
      </tr>
    )
  }
  return (
    <tr>
      <td>
        <code>{line.what}</code>
      </td>
      <td>{line.gives}</td>
      <td>
        <span class={`badge ${line.outcome}`}>{line.outcome}</span>
      </td>
      <td>{line.tier}</td>
      <td class="number">{line.queries}</td>
      <td class="number">{ms(line.milliseconds)}</td>
    </tr>
  )
}

function ReadCard({ add }: { readonly add: (line: Line) => void }) {
  const user = useAction('read-user')
  const score = useAction('read-latest-score')
  const invalidate = useAction('invalidate-user')
  const rename = useAction('rename-user')
  const commit = useAction('commit-score')
  const many = useAction('read-many')
  const picture = live.cache.value
  const note = (text: string) => add({ kind: 'note', text })
  const failure = [user, score, invalidate, rename, commit, many].find((action) => action.failure)?.failure
  return (
    <Card
      title="Read, change, read again"
      hint={
        picture && (
          <>
            The user of this page is <strong>{picture.name}</strong>, <code>{picture.userId}</code>.
          </>
        )
      }
    >
      <div class="row">
        <Button
          kind="main"
          busy={user.busy}
          onClick={async () => {
            const read = await user.run({})
            if (read) add({ kind: 'read', ...read })
          }}
        >
          Fetch user
        </Button>
        <Button
          kind="main"
          busy={score.busy}
          onClick={async () => {
            const read = await score.run({})
            if (read) add({ kind: 'read', ...read })
          }}
        >
          Fetch latest score
        </Button>
      </div>
      <div class="row">
        <Button
          busy={invalidate.busy}
          onClick={async () => {
            if ((await invalidate.run({})) !== undefined) note('invalidated by hand: the entry of this user is gone')
          }}
        >
          Invalidate the user
        </Button>
        <Button
          busy={rename.busy}
          onClick={async () => {
            const renamed = await rename.run({})
            if (renamed) note(`a unit of work committed the name “${renamed.name}”: the entry of this user is gone`)
          }}
        >
          Commit a new name
        </Button>
        <Button
          busy={commit.busy}
          onClick={async () => {
            const stored = await commit.run({})
            if (stored) note(`a unit of work committed the score ${stored.score}: the latest score is expired, the user is not`)
          }}
        >
          Commit a new score
        </Button>
      </div>
      <div class="row">
        <Button busy={many.busy} onClick={() => many.run({ reads: 1000 })}>
          Read 1,000 times, with a commit after every 50
        </Button>
      </div>
      {many.result && (
        <Notice tone="good">
          {many.result.reads} reads and {many.result.commits} commits: each commit cost one miss.
        </Notice>
      )}
      <Failure failure={failure} />
    </Card>
  )
}

function FiguresCard() {
  const counters = live.cache.value?.counters
  return (
    <Card title="What the cache is worth" hint="Counted in the lab's process, for the reads of users by id.">
      <dl class="stats">
        <Stat
          name={<var>H</var>}
          value={counters ? percent(counters.hitRate) : '–'}
          note={counters ? `${counters.hits} hits / ${counters.requests} requests` : undefined}
        />
        <Stat name={<Time of="cache" />} value={counters ? ms(counters.tCache) : '–'} note="one look into the cache" />
        <Stat name={<Time of="database" />} value={counters ? ms(counters.tDatabase) : '–'} note="one query, for a miss" />
        <Stat name={<Time of="avg" />} value={counters ? ms(counters.tAverage) : '–'} note="what a read takes on average" />
      </dl>
      <p class="formula">
        <Time of="avg" /> = <var>H</var> × <Time of="cache" /> + (1 − <var>H</var>) × (<Time of="cache" /> +{' '}
        <Time of="database" />)
      </p>
    </Card>
  )
}

function Time({ of }: { readonly of: string }) {
  return (
    <var>
      T<sub>{of}</sub>
    </var>
  )
}

function CourseCard() {
  const course = useComputed(() => live.cache.value?.course ?? []).value
  const x = useMemo(() => course.map(({ requests }) => requests), [course])
  const hits = useMemo(() => {
    return [{ name: 'H', colour: '--line-1', values: course.map(({ hitRate }) => Math.round(hitRate * 1000) / 10) }]
  }, [course])
  const times = useMemo(() => [{ name: 'T avg', colour: '--line-2', values: course.map(({ tAverage }) => tAverage) }], [course])
  return (
    <Card
      title={
        <>
          <var>H</var> and <Time of="avg" />, request by request
        </>
      }
      wide
    >
      <div class="charts">
        <Chart label="Hit rate" x={x} lines={hits} unit=" %" xName="requests" />
        <Chart label="Average access time" x={x} lines={times} unit=" ms" xName="requests" />
      </div>
    </Card>
  )
}
