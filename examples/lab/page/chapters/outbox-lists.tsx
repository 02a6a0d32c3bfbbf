import type { EventRow, LetterRow } from '../../contract/live.ts'
import { useAction } from '../act.ts'
import { live } from '../live.ts'
import { Button } from '../parts/button.tsx'
import { Card, NoRows, Table } from '../parts/card.tsx'
import { clock, count, shortId } from '../parts/format.ts'
import { Failure } from '../parts/notice.tsx'

export function PendingCard() {
  const poison = useAction('poison-event')
  const picture = live.outbox.value
  const events = picture?.pending ?? []
  return (
    <Card title={`Pending: ${picture?.backlog ?? 0}`} hint="Committed, and waiting to be published; the longest waiting first.">
      <Table label="Pending events" head={['Event', 'Key', 'Score', 'Tries', 'Poison']} tall>
        {events.length === 0 && <NoRows columns={5}>Nothing waits.</NoRows>}
        {events.map((event) => (
          <tr key={event.id}>
            <EventCells event={event} />
            <td class="number">{event.attempts}</td>
            <td>
              {event.poisoned ? (
                <span class="badge dead">poisoned</span>
              ) : (
                <Button kind="small" label={`Poison event ${shortId(event.id)}`} onClick={() => poison.run({ id: event.id })}>
                  Poison
                </Button>
              )}
            </td>
          </tr>
        ))}
      </Table>
      <Failure failure={poison.failure} />
    </Card>
  )
}

export function PublishedCard() {
  const picture = live.outbox.value
  const events = picture?.published ?? []
  return (
    <Card title={`Published: ${picture?.publishedCount ?? 0}`} hint="Acknowledged by the broker and marked; the newest first.">
      <Table label="Published events" head={['Event', 'Key', 'Score', 'Published at']} tall>
        {events.length === 0 && <NoRows columns={4}>Nothing yet: run the relay.</NoRows>}
        {events.map((event) => (
          <tr key={event.id}>
            <EventCells event={event} />
            <td class="number">{event.publishedAt === null ? '' : clock(event.publishedAt)}</td>
          </tr>
        ))}
      </Table>
    </Card>
  )
}

export function ArrivalsCard() {
  const picture = live.outbox.value
  const arrivals = picture?.arrivals ?? []
  return (
    <Card
      title={`Arrived: ${picture?.arrivalCount ?? 0}`}
      hint={live.status.value && `Through: ${live.status.value.broker.name}.`}
    >
      <Table label="What the subscriber got" head={['Event', 'User', 'Score', 'At']} tall>
        {arrivals.length === 0 && <NoRows columns={4}>The subscriber has heard nothing yet.</NoRows>}
        {arrivals.map((arrival, index) => (
          <tr key={`${arrival.id}-${arrivals.length - index}`}>
            <td>
              <code>{shortId(arrival.id)}</code>
            </td>
            <td>{arrival.user}</td>
            <td class="number">{arrival.airScore.toFixed(2)}</td>
            <td class="number">{clock(arrival.at)}</td>
          </tr>
        ))}
      </Table>
    </Card>
  )
}

export function DeadLettersCard() {
  const redrive = useAction('redrive-letter')
  const discard = useAction('discard-letter')
  const letters = live.outbox.value?.letters ?? []
  return (
    <Card
      title={`Dead letters: ${letters.length}`}
      hint="What failed three times left the outbox with its payload and its history. Redrive heals it and puts it back in its place."
    >
      <ul class="letters">
        {letters.length === 0 && <li class="none">None: no event was given up.</li>}
        {letters.map((letter) => (
          <Letter
            key={letter.id}
            letter={letter}
            redrive={() => redrive.run({ id: letter.id })}
            discard={() => discard.run({ id: letter.id })}
          />
        ))}
      </ul>
      <Failure failure={redrive.failure ?? discard.failure} />
    </Card>
  )
}

function Letter(props: { readonly letter: LetterRow; readonly redrive: () => unknown; readonly discard: () => unknown }) {
  const { id, key, attempts, reason, error, history } = props.letter
  return (
    <li class="letter">
      <p>
        <code>{shortId(id)}</code> of {key}: given up after {count(attempts, 'attempt')} <span class="badge dead">{reason}</span>
      </p>
      <p class="error-text">{error}</p>
      <details>
        <summary>History</summary>
        <ol>
          {history.map((attempt, index) => (
            <li key={index}>{attempt}</li>
          ))}
        </ol>
      </details>
      <div class="row">
        <Button kind="small" label={`Heal and redrive event ${shortId(id)}`} onClick={props.redrive}>
          Heal and redrive
        </Button>
        <Button kind="small" label={`Discard event ${shortId(id)}`} onClick={props.discard}>
          Discard
        </Button>
      </div>
    </li>
  )
}

function EventCells({ event }: { readonly event: EventRow }) {
  return (
    <>
      <td>
        <code title={`${event.type} ${event.id}`}>{shortId(event.id)}</code>
      </td>
      <td>{event.key}</td>
      <td class="number">{event.airScore.toFixed(2)}</td>
    </>
  )
}
