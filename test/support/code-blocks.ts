import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './programs.ts'

/** One `ts` block of a Markdown file. */
export interface CodeBlock {
  /** The file and the line of its first code line, as an editor opens it: `docs/guides/cache.md:12`. */
  readonly place: string
  readonly code: string
  /** False for a block that opens with ```` ```ts no-run ````: it needs a server, or is part of a program. */
  readonly runs: boolean
  /** True for a block that opens with ```` ```ts both ````: it runs on PostgreSQL too. */
  readonly both: boolean
  /** The name of a block that opens with ```` ```ts file=service.ts ````: later ones of its page import it by that. */
  readonly file: string | undefined
}

/** All `ts` blocks of a Markdown file, in order. */
export function codeBlocks(path: string): readonly CodeBlock[] {
  const lines = readFileSync(join(repository, path), 'utf8').split('\n')
  const blocks: CodeBlock[] = []
  for (let line = 0; line < lines.length; line += 1) {
    const words = /^\s*```(?:ts|typescript)\b(.*)$/.exec(lines[line] ?? '')?.[1]
    if (words === undefined) continue
    const start = line + 1
    const end = lines.findIndex((text, index) => index >= start && /^\s*```\s*$/.test(text))
    if (end < 0) throw new Error(`${path}:${line + 1}: the code block has no end`)
    const code = lines.slice(start, end).join('\n')
    const file = /\bfile=(\S+)/.exec(words)?.[1]
    const [runs, both] = [!words.includes('no-run'), words.includes('both')]
    blocks.push({ place: `${path}:${start + 1}`, code, runs, both, file })
    line = end
  }
  return blocks
}

/** The README and every page of docs whose code must compile; docs/api is generated. */
export function pages(): readonly string[] {
  return [
    'README.md',
    ...globSync('docs/**/*.md', { cwd: repository })
      .filter((path) => !path.startsWith('docs/api/'))
      .sort(),
  ]
}
