import type { ComponentChildren } from 'preact'

/** Chooses a number; its words show the one that is chosen, in an `output`. */
export function Slider(props: {
  readonly min: number
  readonly max: number
  readonly step?: number
  readonly value: number
  /** Told with each move, or with `late` once the slider is let go. */
  readonly onChoose: (value: number) => void
  readonly late?: boolean
  readonly children: ComponentChildren
}) {
  const { min, max, step, value, onChoose, late = false } = props
  const choose = (event: { readonly currentTarget: HTMLInputElement }) => onChoose(Number(event.currentTarget.value))
  return (
    <label class="slider">
      <span>{props.children}</span>
      <input
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        {...(late ? { onChange: choose } : { onInput: choose })}
      />
    </label>
  )
}
