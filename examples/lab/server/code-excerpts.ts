import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { common, createLowlight } from 'lowlight'
import type { ChapterSlug } from '../contract/chapters.ts'
import type { CodeExcerpt, CodeToken } from '../contract/entities.ts'

const home = join(import.meta.dirname, '..')
const highlighter = createLowlight(common)

/** What each page shows of the lab's own source: files, and the regions marked in them. */
const shown: Readonly<Record<ChapterSlug, readonly (readonly [file: string, ...regions: string[]])[]>> = {
  overview: [['server/connect-lab.ts', 'connect']],
  'data-models': [['chapters/data-models.ts', 'create-user', 'remove-user', 'metadata']],
  connectivity: [
    ['server/connect-lab.ts', 'connect'],
    ['chapters/connectivity.ts', 'initialise'],
    ['chapters/load-desk.ts', 'load'],
  ],
  repositories: [['chapters/n-plus-one.ts', 'loop', 'eager', 'guard']],
  caching: [
    ['chapters/caching.ts', 'read-user', 'read-latest-score', 'rename', 'invalidate'],
    ['chapters/stale-race.ts', 'slow-query', 'naive-cache'],
  ],
  outbox: [
    ['chapters/outbox.ts', 'calculate', 'record', 'record-score', 'redrive'],
    ['chapters/relay-desk.ts', 'relay'],
    ['chapters/broker.ts', 'publisher'],
    ['chapters/subscriber.ts', 'subscriber'],
  ],
}

/**
 * The code behind a page, cut out of the files that run.
 *
 * @throws Error when a file has no such region: then the page would show nothing where code is promised.
 */
export function codeOf(slug: ChapterSlug): CodeExcerpt[] {
  return shown[slug].flatMap(([file, ...regions]) => regions.map((region) => cut(file, region)))
}

function cut(file: string, region: string): CodeExcerpt {
  const path = join(home, file)
  const lines = readFileSync(path, 'utf8').split('\n')
  const start = lines.findIndex((line) => line.trim() === `// #region ${region}`)
  const end = lines.findIndex((line, index) => index > start && line.trim() === '// #endregion')
  if (start < 0 || end < 0) throw new Error(`${file} has no region ${region}`)
  const code = unindent(lines.slice(start + 1, end))
  return { file: relative(process.cwd(), path), line: start + 2, tokens: highlight(code) }
}

function unindent(lines: readonly string[]): string {
  const depth = Math.min(...lines.filter((line) => line.trim() !== '').map((line) => line.search(/\S/)))
  return lines.map((line) => line.slice(depth)).join('\n')
}

function highlight(code: string): CodeToken[] {
  type Node = ReturnType<typeof highlighter.highlight>['children'][number]
  const flat = (nodes: readonly Node[], kind: string): CodeToken[] =>
    nodes.flatMap((node) => {
      if (node.type === 'text') return [{ text: node.value, kind }]
      if (node.type !== 'element') return []
      const [name] = (node.properties.className as string[] | undefined) ?? []
      return flat(node.children as Node[], name?.replace('hljs-', '') ?? kind)
    })
  return flat(highlighter.highlight('typescript', code).children, '')
}
