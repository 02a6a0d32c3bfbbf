import { stripVTControlCharacters } from 'node:util'

// What differs from run to run and from machine to machine, and what stands for it in an expectation.
const unstable: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, '<id>'],
  [/\b[0-9a-f]{8}…/gi, '<id>'],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?/g, '<time>'],
  [/\b(postgres|postgresql|redis|rediss):\/\/[^\s'"│]+/g, '<$1 url>'],
  [/\b(127\.0\.0\.1|localhost):\d+/g, '<address>'],
  // Figures with a unit of time, of speed or of comparison.
  [/[\d.,]*\d\s?(ns|µs|us|ms|s|min)\b/g, '<n> $1'],
  [/[\d.,]*\d\s?((?:[a-z]+\/s|ops|req\/s|per second)\b)/g, '<n> $1'],
  [/[\d.,]*\d\s?([×x])(?![\w])/g, '<n>$1'],
]

/** The part of a program's output that is the same in every run: the last frame of progress bars, without times and ids. */
export function stableText(output: string): string {
  const lines = stripVTControlCharacters(output)
    .split(/\r?\n/)
    .map((line) => line.split('\r').findLast((frame) => frame.trim() !== '') ?? '')
    .map((line) => unstable.reduce((text, [pattern, word]) => text.replace(pattern, word), line))
    // A column is as wide as its widest figure, so widths are unstable too.
    .map((line) =>
      line
        .replace(/─{2,}/g, '─')
        .replace(/ {2,}/g, ' ')
        .replace(/█+░*|░+/g, '<bar>')
        .trimEnd(),
    )
  return `${lines.join('\n').trim()}\n`
}
