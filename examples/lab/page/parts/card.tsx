import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'

/** A part of a page, with its heading. */
export function Card(props: {
  readonly title: ComponentChildren
  readonly hint?: ComponentChildren
  readonly wide?: boolean
  readonly children: ComponentChildren
}) {
  const id = useId()
  return (
    <section class={props.wide ? 'card wide' : 'card'} aria-labelledby={id}>
      <h2 id={id}>{props.title}</h2>
      {props.hint !== undefined && <p class="hint">{props.hint}</p>}
      {props.children}
    </section>
  )
}

/** A table that scrolls within its card where it is too wide. */
export function Table(props: {
  readonly label: string
  readonly head: readonly string[]
  readonly tall?: boolean
  readonly children: ComponentChildren
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <section class={props.tall ? 'scrolls tall' : 'scrolls'} aria-label={props.label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {props.head.map((text) => (
              <th scope="col" key={text}>
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </section>
  )
}

/** A row that says that there are none. */
export function NoRows(props: { readonly columns: number; readonly children: ComponentChildren }) {
  return (
    <tr>
      <td class="none" colSpan={props.columns}>
        {props.children}
      </td>
    </tr>
  )
}
