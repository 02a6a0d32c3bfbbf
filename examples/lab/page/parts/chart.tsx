import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'

/** A line of a chart. */
export interface Line {
  readonly name: string
  /** A colour of the stylesheet, such as `--line-1`. */
  readonly colour: string
  readonly dashed?: boolean
  readonly values: readonly number[]
}

const height = 220
/** Requests come one by one: no axis needs a mark between two of them. */
const wholeSteps = [1, 2, 5].flatMap((step) => [step, step * 10, step * 100, step * 1000, step * 10_000]).sort((a, b) => a - b)

/** Lines over one axis. What it shows stands in the table beside it too: the drawing is for the eye. */
export function Chart(props: {
  readonly label: string
  readonly x: readonly number[]
  readonly lines: readonly Line[]
  readonly unit: string
  readonly xName: string
  /** Distances on the x axis double instead of adding up. */
  readonly doubling?: boolean
}) {
  const place = useRef<HTMLDivElement>(null)
  const scheme = useScheme()
  const { x, lines, unit, xName, doubling = false } = props
  useEffect(() => {
    const element = place.current
    if (element === null || x.length === 0) return
    const styles = getComputedStyle(element)
    const colour = (name: string) => styles.getPropertyValue(name).trim()
    const axis = {
      stroke: colour('--quiet'),
      grid: { stroke: colour('--edge'), width: 1 },
      ticks: { stroke: colour('--edge'), width: 1 },
    }
    const marks = doubling ? { splits: () => [...x], filter: (_: uPlot, splits: number[]) => splits } : { incrs: wholeSteps }
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height,
        cursor: { show: false },
        legend: { show: false },
        scales: {
          x: doubling ? { time: false, distr: 3, log: 2 } : { time: false },
          y: { range: (_plot, _low, high) => [0, high * 1.1 || 1] },
        },
        axes: [
          { ...axis, ...marks, label: xName, labelSize: 22, size: 34 },
          { ...axis, size: 62, values: (_plot, values) => values.map((value) => `${value}${unit}`) },
        ],
        series: [
          {},
          ...lines.map(({ name, colour: of, dashed }) => ({
            label: name,
            stroke: colour(of),
            width: 2,
            points: { show: x.length < 24, size: 6 },
            ...(dashed ? { dash: [6, 4] } : {}),
          })),
        ],
      },
      [[...x], ...lines.map(({ values }) => [...values])],
      element,
    )
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }))
    resized.observe(element)
    return () => {
      resized.disconnect()
      plot.destroy()
    }
  }, [x, lines, unit, xName, doubling, scheme])
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-name">{props.label}</span>
        {lines.map(({ name, colour, dashed }) => (
          <span class={`key ${colour.slice(2)} ${dashed ? 'dashed' : ''}`} key={name}>
            {name}
          </span>
        ))}
      </figcaption>
      {x.length === 0 ? <p class="none">Nothing measured yet.</p> : <div class="plot" aria-hidden="true" ref={place} />}
    </figure>
  )
}

/** Changes when the system goes dark or light: a canvas does not follow by itself. */
function useScheme(): boolean {
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches)
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)')
    const changed = () => setDark(query.matches)
    query.addEventListener('change', changed)
    return () => query.removeEventListener('change', changed)
  }, [])
  return dark
}
