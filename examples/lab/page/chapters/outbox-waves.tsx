import type { WavePicture } from '../../contract/live.ts'
import { live } from '../live.ts'
import { Card } from '../parts/card.tsx'
import { ms } from '../parts/format.ts'

/** Keys with a row of their own; what further ones publish is counted in one row. */
const rowsDrawn = 8

const marks: Readonly<Record<string, { readonly sign: string; readonly says: string }>> = {
  'under way': { sign: '○', says: 'under way' },
  published: { sign: '●', says: 'published' },
  retryable: { sign: '✕', says: 'failed, to be tried again' },
  permanent: { sign: '✕', says: 'failed for good' },
  unavailable: { sign: '–', says: 'the broker was away' },
}

/** Each column is one call of the publisher. Within it no key comes twice, so it may be published all at once. */
export function WavesCard() {
  const waves = live.outbox.value?.waves ?? []
  const keys = keysOf(waves)
  const drawn = keys.length <= rowsDrawn + 1 ? keys : keys.slice(0, rowsDrawn)
  return (
    <Card
      title="Wake and waves"
      hint="A column is a wave: the next event of every key, published together. A commit wakes a relay that waits; the first row says how soon."
      wide
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <section class="scrolls waves" aria-label="Waves" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Wave</th>
              {waves.map(({ number }) => (
                <th scope="col" key={number}>
                  {number}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <tr class="wake">
              <th scope="row">Woken after</th>
              {waves.map(({ number, wokenAfterMs }) => (
                <td key={number}>{wokenAfterMs === null ? '' : ms(wokenAfterMs)}</td>
              ))}
            </tr>
            {drawn.map((key) => (
              <tr key={key}>
                <th scope="row">{key}</th>
                {waves.map((wave) => (
                  <Cell
                    key={wave.number}
                    outcomes={wave.events.filter((event) => event.key === key).map(({ outcome }) => outcome)}
                  />
                ))}
              </tr>
            ))}
            {keys.length > drawn.length && (
              <tr>
                <th scope="row">{keys.length - drawn.length} more keys</th>
                {waves.map((wave) => (
                  <Cell
                    key={wave.number}
                    outcomes={wave.events.filter((event) => !drawn.includes(event.key)).map(({ outcome }) => outcome)}
                  />
                ))}
              </tr>
            )}
          </tbody>
        </table>
      </section>
      {waves.length === 0 ? (
        <p class="none">No wave yet: record some events and run the relay.</p>
      ) : (
        <p class="key-line">● published · ○ under way · ✕ failed · – broker away</p>
      )}
    </Card>
  )
}

function Cell({ outcomes }: { readonly outcomes: readonly string[] }) {
  const [outcome] = outcomes
  if (outcome === undefined) return <td />
  const mark = marks[outcome] ?? { sign: '?', says: outcome }
  return (
    <td class={`wave-cell ${outcome.replace(' ', '-')}`}>
      <span aria-hidden="true">{mark.sign}</span>
      {outcomes.length > 1 && <sub>{outcomes.length}</sub>}
      <span class="hidden">{mark.says}</span>
    </td>
  )
}

/** The keys of these waves: those that come often first, so that streams stand above single events. */
function keysOf(waves: readonly WavePicture[]): string[] {
  const counts = new Map<string, number>()
  for (const { events } of waves) for (const { key } of events) counts.set(key, (counts.get(key) ?? 0) + 1)
  const sorted = [...counts].sort(([one, few], [other, many]) => many - few || one.localeCompare(other, 'en', { numeric: true }))
  return sorted.map(([key]) => key)
}
