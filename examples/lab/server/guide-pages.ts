import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Marked } from 'marked'

const docs = join(import.meta.dirname, '../../../docs')
const marked = new Marked({
  renderer: {
    heading({ tokens, depth, text }) {
      const id = text.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-')
      return `<h${depth} id="${id}">${this.parser.parseInline(tokens)}</h${depth}>\n`
    },
    code({ text, lang }) {
      const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
      return `<pre tabindex="0" aria-label="${lang?.split(' ')[0] ?? 'text'}"><code>${escaped}</code></pre>\n`
    },
  },
})

/** A guide of `docs/` as a page, in the lab's own clothes; `undefined` when there is none of this name. */
export function guidePage(name: string, stylesheet: string): string | undefined {
  if (!/^[a-z-]+$/.test(name)) return undefined
  const file = [join(docs, 'guides', `${name}.md`), join(docs, `${name}.md`)].find((path) => existsSync(path))
  if (file === undefined) return undefined
  const markdown = readFileSync(file, 'utf8')
  const title = /^# (.*)/m.exec(markdown)?.[1] ?? name
  let tables = 0
  const body = (marked.parse(markdown) as string)
    .replaceAll(/href="(?!https?:)[^"#]*?([a-z-]+)\.md(#[^"]*)?"/g, 'href="/guides/$1$2"')
    .replaceAll('<table>', () => `<div class="scrolls" tabindex="0" role="region" aria-label="Table ${++tables}"><table>`)
    .replaceAll(/<th([^>]*)><\/th>/g, '<td$1></td>')
    .replaceAll('</table>', '</table></div>')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title.replaceAll('<', '&lt;')} · Guide</title><link rel="stylesheet" href="${stylesheet}"></head>
<body class="guide"><header class="guide-head"><a href="/">← The lab</a></header><main class="guide-text">${body}</main></body></html>`
}
