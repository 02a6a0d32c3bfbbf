import { useEffect, useState } from 'preact/hooks'
import type { Chapter } from '../../contract/chapters.ts'
import type { CodeExcerpt } from '../../contract/entities.ts'

/** The code behind a page, as the lab cuts it out of its own files. */
export function CodePanel(props: { readonly chapter: Chapter }) {
  const { slug, guide } = props.chapter
  const [excerpts, setExcerpts] = useState<readonly CodeExcerpt[]>([])
  useEffect(() => {
    const aborted = new AbortController()
    fetch(`/api/code/${slug}`, { signal: aborted.signal })
      .then((response) => response.json())
      .then(setExcerpts)
      .catch(() => setExcerpts([]))
    return () => aborted.abort()
  }, [slug])
  return (
    <section class="code-panel" aria-labelledby="code-behind">
      <div class="code-head">
        <h2 id="code-behind">The code behind this page</h2>
        <a class="guide-link" href={`/guides/${guide}`}>
          Read the guide
        </a>
      </div>
      <div class="excerpts">
        {excerpts.map((excerpt) => (
          <Excerpt key={`${excerpt.file}:${excerpt.line}`} {...excerpt} />
        ))}
      </div>
    </section>
  )
}

function Excerpt({ file, line, tokens }: CodeExcerpt) {
  const name = `${file}:${line}`
  return (
    <figure class="excerpt">
      <figcaption>{name}</figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <pre tabIndex={0}>
        <code>
          {tokens.map(({ text, kind }, index) => (
            <span key={index} class={kind === '' ? undefined : `t-${kind}`}>
              {text}
            </span>
          ))}
        </code>
      </pre>
    </figure>
  )
}
