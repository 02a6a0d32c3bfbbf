import type { ComponentChildren } from 'preact'

/** A live figure with its name, and below it how it comes about. */
export function Stat(props: { readonly name: ComponentChildren; readonly value: string; readonly note?: ComponentChildren }) {
  return (
    <div class="stat">
      <dt>{props.name}</dt>
      <dd>
        <span class="value">{props.value}</span>
        {props.note !== undefined && <span class="note">{props.note}</span>}
      </dd>
    </div>
  )
}

/** How far something has come. */
export function Progress(props: { readonly label: string; readonly done: number; readonly total: number }) {
  return (
    <div class="progress">
      <progress aria-label={props.label} value={props.done} max={Math.max(props.total, 1)} />
      <span class="figures">
        {props.done} of {props.total}
      </span>
    </div>
  )
}
