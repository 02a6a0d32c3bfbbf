import { hasErrorCode } from '@innovateai/data-access'
import { type Context, Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { LabRefusal } from '../chapters/lab-refusal.ts'
import { type ActionFailure, type ActionInput, type ActionName, actionInputs } from '../contract/actions.ts'
import { chapters } from '../contract/chapters.ts'
import { codeOf } from './code-excerpts.ts'
import { gatekeeper } from './gatekeeper.ts'
import { guidePage } from './guide-pages.ts'
import type { Lab } from './lab.ts'
import type { PageFile } from './page-bundle.ts'

/** A sign of life on a quiet stream, so that a window notices when the lab is gone. */
const heartbeatMs = 15_000

/** What {@link webApp} serves. */
export interface WebAppParts {
  readonly lab: Lab
  readonly files: ReadonlyMap<string, PageFile>
  /** Known once the server listens. */
  readonly port: () => number
}

/** The lab on HTTP: pages, actions, and the live feed. */
export function webApp({ lab, files, port }: WebAppParts): Hono {
  const app = new Hono()
  const index = files.get('/index.html') as PageFile
  const stylesheet = [...files.keys()].find((path) => path.endsWith('.css')) ?? ''
  app.use(gatekeeper(port))
  for (const { path } of chapters) app.get(path, (context) => give(context, index, 'no-cache'))
  for (const [path, file] of files) {
    if (path !== '/index.html') app.get(path, (context) => give(context, file, 'public, max-age=31536000, immutable'))
  }
  app.get('/guides/:name', (context) => {
    const page = guidePage(context.req.param('name'), stylesheet)
    return page === undefined ? context.notFound() : context.html(page)
  })
  app.get('/api/entities', (context) => context.json(lab.entities()))
  app.get('/api/code/:slug', (context) => {
    const chapter = chapters.find(({ slug }) => slug === context.req.param('slug'))
    return chapter === undefined ? context.notFound() : context.json(codeOf(chapter.slug))
  })
  app.get('/api/live', (context) => live(context, lab))
  app.post('/api/actions/:name', (context) => act(context, lab))
  app.notFound((context) => context.text('The lab has no such page.\n', 404))
  return app
}

function give(context: Context, { body, type }: PageFile, cacheControl: string): Response {
  return context.body(body, 200, { 'content-type': type, 'cache-control': cacheControl })
}

function live(context: Context, lab: Lab): Response {
  return streamSSE(context, async (stream) => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const silence = lab.feed.listen((topic, data) => void stream.writeSSE({ event: topic, data }))
    const heartbeat = setInterval(() => void stream.writeSSE({ event: 'heartbeat', data: '' }), heartbeatMs)
    stream.onAbort(end)
    await ended
    clearInterval(heartbeat)
    silence()
  })
}

async function act(context: Context, lab: Lab): Promise<Response> {
  const name = context.req.param('name') as ActionName
  if (!Object.hasOwn(actionInputs, name)) return context.notFound()
  if (!context.req.header('content-type')?.startsWith('application/json')) return context.text('Send JSON.\n', 415)
  const input = actionInputs[name].safeParse(await context.req.json().catch(() => undefined))
  if (!input.success) return context.json(explainInput(input.error.issues), 422)
  try {
    return context.json(await lab.act(name, input.data as ActionInput<typeof name>))
  } catch (error) {
    if (error instanceof LabRefusal) return context.json(error.failure, 409)
    return context.json(explain(error), hasErrorCode(error, 'ENTITY_NOT_FOUND') ? 404 : 500)
  }
}

function explainInput(issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): ActionFailure {
  const fields = Object.fromEntries(issues.toReversed().map(({ path, message }) => [path.join('.'), message]))
  return { code: 'INPUT_INVALID', message: Object.values(fields).join('. '), fields }
}

function explain(error: unknown): ActionFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'FAILED'
  return { code, message: error instanceof Error ? error.message : String(error) }
}
