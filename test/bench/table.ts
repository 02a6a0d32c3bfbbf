/** One way to do the work that is measured. */
export interface Contestant {
  readonly name: string
  readonly program: string
  readonly args: (context: BenchContext) => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What it is to reach. */
  readonly target?: Target
}

/** A bound on a column's figure. */
export interface Target {
  readonly column: string
  readonly atLeast?: number
  readonly atMost?: number
}

/** A column of a table. */
export interface Column {
  readonly heading: string
  /** The name of the figure, as the contestants print it. */
  readonly figure: string
  /** The median; the least and the most; or the median in proportion to the first contestant's. */
  readonly show: 'median' | 'range' | 'ratio'
  readonly scale?: number
  readonly digits?: number
}

/** A table of `docs/performance.md`. */
export interface Table {
  readonly title: string
  /** The first contestant is the yardstick. */
  readonly contestants: readonly Contestant[]
  /** Default: throughput with its range, ratio and CPU time. */
  readonly columns?: readonly Column[]
}

/** What one run of one contestant gets. */
export interface BenchContext {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly stream: string
}

/** What a contestant prints as its last line. */
export type Figures = Readonly<Record<string, number>>

const throughput: readonly Column[] = [
  { heading: 'per second', figure: 'perSecond', show: 'median' },
  { heading: 'least–most', figure: 'perSecond', show: 'range' },
  { heading: 'ratio', figure: 'perSecond', show: 'ratio' },
  { heading: 'CPU µs each', figure: 'cpuMsPerOperation', show: 'median', scale: 1000 },
]

/** A table as Markdown. */
export function render(
  { title, contestants, columns = throughput }: Table,
  results: ReadonlyMap<Contestant, readonly Figures[]>,
): string {
  const aims = contestants.some(({ target }) => target !== undefined)
  const headings = ['contestant', ...columns.map(({ heading }) => heading), ...(aims ? ['target'] : [])]
  const first = results.get(contestants[0] as Contestant) ?? []
  const rows = [...results].map(([{ name, target }, figures]) => {
    const cells = columns.map((column) => cell(column, figures, first))
    const aim = target === undefined ? '' : verdict(target, columns, figures, first)
    return [name, ...cells, ...(aims ? [aim] : [])]
  })
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [`### ${title}`, '', line(headings), `|${'---|'.repeat(headings.length)}`, ...rows.map(line)].join('\n')
}

function shown({ figure, show, scale = 1 }: Column, figures: readonly Figures[], first: readonly Figures[]): number {
  const value = median(figures, figure) * scale
  return show === 'ratio' ? value / (median(first, figure) * scale) : value
}

function cell(column: Column, figures: readonly Figures[], first: readonly Figures[]): string {
  const { figure, show, scale = 1, digits = show === 'ratio' ? 2 : 0 } = column
  const write = (value: number) => value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  if (show !== 'range') return write(shown(column, figures, first))
  const values = figures.map((one) => (one[figure] ?? Number.NaN) * scale)
  return `${write(Math.min(...values))}–${write(Math.max(...values))}`
}

function verdict(
  { column: heading, atLeast, atMost }: Target,
  columns: readonly Column[],
  figures: readonly Figures[],
  first: readonly Figures[],
): string {
  const column = columns.find((one) => one.heading === heading)
  if (column === undefined) throw new Error(`a target names the column ${heading}, which its table has not`)
  const value = Number(shown(column, figures, first).toFixed(column.digits ?? 2))
  const reached = value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY)
  return `${heading} ${atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`}: ${reached ? 'reached' : '**not reached**'}`
}

function median(figures: readonly Figures[], figure: string): number {
  const sorted = figures.map((one) => one[figure] ?? Number.NaN).sort((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
