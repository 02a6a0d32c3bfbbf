import type { FunctionComponent } from 'preact'
import { useEffect } from 'preact/hooks'
import { type ChapterSlug, chapters } from '../contract/chapters.ts'
import type { Health, Wiring } from '../contract/live.ts'
import { Caching } from './chapters/caching.tsx'
import { Connectivity } from './chapters/connectivity.tsx'
import { DataModels } from './chapters/data-models.tsx'
import { Outbox } from './chapters/outbox.tsx'
import { Overview } from './chapters/overview.tsx'
import { Repositories } from './chapters/repositories.tsx'
import { connection, live, restarted } from './live.ts'
import { CodePanel } from './parts/code-panel.tsx'
import { ms } from './parts/format.ts'
import { chapter, goTo } from './router.ts'

const pages: Readonly<Record<ChapterSlug, FunctionComponent>> = {
  overview: Overview,
  'data-models': DataModels,
  connectivity: Connectivity,
  repositories: Repositories,
  caching: Caching,
  outbox: Outbox,
}

export function Shell() {
  const current = chapter.value
  const Page = pages[current.slug]
  useEffect(() => {
    document.title = `${current.title} · The lab`
    // On a narrow screen the chapters stand in a strip that is wider than the screen.
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }, [current])
  return (
    <>
      <a class="skip" href="#content">
        Skip to the page
      </a>
      <header class="side">
        <a class="brand" href="/" onClick={goTo}>
          <span class="mark" aria-hidden="true" />
          <span>
            <strong>The lab</strong>
            <small>@innovateai/data-access</small>
          </span>
        </a>
        <nav aria-label="Chapters">
          {chapters.map((each) => (
            <a key={each.slug} href={each.path} aria-current={each.slug === current.slug ? 'page' : undefined} onClick={goTo}>
              <span class="number" aria-hidden="true">
                {each.number === 0 ? '·' : each.number}
              </span>
              {each.title}
            </a>
          ))}
        </nav>
        <Wires />
      </header>
      <main id="content" tabIndex={-1}>
        <Banner />
        <div class="page-head">
          {current.number > 0 && <p class="eyebrow">Chapter {current.number}</p>}
          <h1 tabIndex={-1}>{current.title}</h1>
          <p class="lead">{current.lead}</p>
        </div>
        <Page key={current.slug} />
        <CodePanel chapter={current} />
      </main>
    </>
  )
}

/** What the lab runs on, and whether it answers. */
function Wires() {
  const status = live.status.value
  if (status === undefined) return <div class="wires" />
  return (
    <dl class="wires">
      <Wire label="Database" wiring={status.database} health={status.databaseHealth} />
      <Wire label="Cache" wiring={status.cache} health={status.cacheHealth} />
    </dl>
  )
}

function Wire({ label, wiring, health }: { readonly label: string; readonly wiring: Wiring; readonly health: Health }) {
  const away = connection.value === 'lost' ? 'unknown' : health.ok ? 'ok' : 'away'
  return (
    <div class={`wire ${away}`}>
      <dt>{label}</dt>
      <dd>
        {wiring.name}
        <small>{away === 'ok' ? ms(health.latencyMs) : away === 'away' ? 'does not answer' : 'not known'}</small>
      </dd>
    </div>
  )
}

/** Says what is away, and what that means for this page. */
function Banner() {
  const status = live.status.value
  if (connection.value === 'lost') {
    return (
      <div class="banner bad" role="alert">
        <strong>The lab does not answer.</strong> This page shows what it last heard, and goes on by itself once the lab is back.
      </div>
    )
  }
  return (
    <>
      {status?.databaseHealth.ok === false && (
        <div class="banner bad" role="alert">
          <strong>The database does not answer:</strong> {status.databaseHealth.error}. Buttons fail or wait until it is back; no
          committed row is lost.
        </div>
      )}
      {status?.cacheHealth.ok === false && (
        <div class="banner warn" role="alert">
          <strong>The cache does not answer:</strong> {status.cacheHealth.error}. Reads go to the database and commits succeed;
          what changes meanwhile is expired once the cache is back.
        </div>
      )}
      {restarted.value && (
        <div class="banner good" role="status">
          <strong>The lab was started anew.</strong>{' '}
          {status?.keepsRows
            ? 'Its rows are still there; counters began again.'
            : 'Its rows lived in memory and began anew, too.'}
          <button type="button" class="button small" onClick={() => (restarted.value = false)}>
            Understood
          </button>
        </div>
      )}
    </>
  )
}
