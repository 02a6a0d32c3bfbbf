import { signal } from '@preact/signals'
import type { LiveTopic, LiveTopics } from '../contract/live.ts'

/** The newest picture of each topic, as the lab told it. */
export const live = {
  status: signal<LiveTopics['status'] | undefined>(undefined),
  users: signal<LiveTopics['users'] | undefined>(undefined),
  pool: signal<LiveTopics['pool'] | undefined>(undefined),
  load: signal<LiveTopics['load'] | undefined>(undefined),
  cache: signal<LiveTopics['cache'] | undefined>(undefined),
  outbox: signal<LiveTopics['outbox'] | undefined>(undefined),
}

/** Whether this window hears of changes: `lost` while the lab does not answer. */
export const connection = signal<'connecting' | 'live' | 'lost'>('connecting')
/** Whether the lab was started anew while this window was open. */
export const restarted = signal(false)

/** A stream that is silent for so long is broken, in ms: the lab tells its status every two seconds. */
const silenceMs = 20_000
const retryMs = 1000

let source: EventSource | undefined
let silence: number | undefined
let retry: number | undefined

/** Listens while the window is seen: browsers allow few connections to one server, and hidden windows need none. */
export function listen(): void {
  open()
  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()))
  // A page that is put aside must let go of its stream, or the next one may have to wait for a connection.
  window.addEventListener('pagehide', close)
  window.addEventListener('pageshow', open)
}

function open(): void {
  if (source !== undefined) return
  clearTimeout(retry)
  source = new EventSource('/api/live')
  source.onerror = lose
  for (const topic of Object.keys(live) as LiveTopic[]) {
    source.addEventListener(topic, ({ data }: MessageEvent<string>) => hear(topic, data))
  }
  watchSilence()
}

function close(): void {
  source?.close()
  source = undefined
  clearTimeout(silence)
  clearTimeout(retry)
}

/** The browser's own retries can take long; this one tries each second, and says so meanwhile. */
function lose(): void {
  close()
  connection.value = 'lost'
  retry = window.setTimeout(open, retryMs)
}

function hear(topic: LiveTopic, data: string): void {
  const picture = JSON.parse(data)
  if (topic === 'status') {
    const before = live.status.value?.run
    if (before !== undefined && before !== picture.run) restarted.value = true
  }
  live[topic].value = picture
  connection.value = 'live'
  watchSilence()
}

function watchSilence(): void {
  clearTimeout(silence)
  silence = window.setTimeout(lose, silenceMs)
}
