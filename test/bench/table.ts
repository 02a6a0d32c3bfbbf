/** One way to do the work that is measured. */
export interface Contestant {
  readonly name: string
  readonly program: string
  readonly args: (context: BenchContext) => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What it is to reach. */
  readonly targets?: readonly Target[]
  /** The contestant that does the same by statements alone, by its name. */
  readonly shape?: string
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
  /** The median; the least and the most; or the median in proportion to the first contestant's, or to that of its shape. */
  readonly show: 'median' | 'range' | 'ratio' | 'shape ratio'
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

/** The columns of what runs as fast as it can. */
export const throughput: readonly Column[] = [
  { heading: 'per second', figure: 'perSecond', show: 'median' },
  { heading: 'least–most', figure: 'perSecond', show: 'range' },
  { heading: 'ratio', figure: 'perSecond', show: 'ratio' },
  { heading: 'CPU µs each', figure: 'cpuMsPerOperation', show: 'median', scale: 1000 },
]

type Results = ReadonlyMap<Contestant, readonly Figures[]>

/** A table as Markdown. */
export function render({ title, contestants, columns = throughput }: Table, results: Results): string {
  const aims = contestants.some(({ targets }) => targets !== undefined)
  const headings = ['contestant', ...columns.map(({ heading }) => heading), ...(aims ? ['target'] : [])]
  const rows = [...results.keys()].map((contestant) => {
    const cells = columns.map((column) => cell(column, contestant, results))
    const verdicts = (contestant.targets ?? []).map((target) => verdict(target, columns, contestant, results))
    return [contestant.name, ...cells, ...(aims ? [verdicts.join('; ')] : [])]
  })
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [`### ${title}`, '', line(headings), `|${'---|'.repeat(headings.length)}`, ...rows.map(line)].join('\n')
}

/** The number in a cell, unless the contestant has none there. */
function shown({ figure, show, scale = 1 }: Column, contestant: Contestant, results: Results): number | undefined {
  const value = median(results.get(contestant), figure)
  if (show === 'median' || show === 'range') return value * scale
  const yardstick = show === 'ratio' ? [...results.keys()][0] : [...results.keys()].find(({ name }) => name === contestant.shape)
  return yardstick && value / median(results.get(yardstick), figure)
}

function cell(column: Column, contestant: Contestant, results: Results): string {
  const { figure, show, scale = 1 } = column
  const digits = digitsOf(column)
  const write = (value: number) => value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  if (show !== 'range') {
    const value = shown(column, contestant, results)
    return value === undefined ? '' : write(value)
  }
  const values = (results.get(contestant) ?? []).map((one) => (one[figure] ?? Number.NaN) * scale)
  return `${write(Math.min(...values))}–${write(Math.max(...values))}`
}

function digitsOf({ show, digits = show === 'median' || show === 'range' ? 0 : 2 }: Column): number {
  return digits
}

function verdict(
  { column: heading, atLeast, atMost }: Target,
  columns: readonly Column[],
  contestant: Contestant,
  results: Results,
): string {
  const column = columns.find((one) => one.heading === heading)
  const value = column && shown(column, contestant, results)
  if (column === undefined || value === undefined)
    throw new Error(`${contestant.name} has a target for ${heading}, and no figure there`)
  const told = Number(value.toFixed(digitsOf(column)))
  const reached = told >= (atLeast ?? Number.NEGATIVE_INFINITY) && told <= (atMost ?? Number.POSITIVE_INFINITY)
  return `${heading} ${atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`}: ${reached ? 'reached' : '**not reached**'}`
}

function median(figures: readonly Figures[] = [], figure: string): number {
  const sorted = figures.map((one) => one[figure] ?? Number.NaN).sort((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
