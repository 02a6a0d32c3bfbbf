import type { ComponentChildren } from 'preact'

/** A button that does something in the lab. While it is busy it stays in its place and does nothing twice. */
export function Button(props: {
  readonly kind?: 'main' | 'plain' | 'danger' | 'small'
  readonly busy?: boolean
  readonly disabled?: boolean
  readonly submits?: boolean
  readonly pressed?: boolean
  readonly label?: string
  readonly onClick?: () => unknown
  readonly children: ComponentChildren
}) {
  const { busy = false, disabled = false } = props
  return (
    <button
      type={props.submits ? 'submit' : 'button'}
      class={`button ${props.kind ?? 'plain'}`}
      aria-busy={busy}
      aria-disabled={busy || disabled}
      aria-pressed={props.pressed}
      aria-label={props.label}
      onClick={(event) => {
        if (busy || disabled) event.preventDefault()
        else void props.onClick?.()
      }}
    >
      {props.children}
    </button>
  )
}
