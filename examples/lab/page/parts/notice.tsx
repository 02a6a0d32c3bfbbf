import type { ComponentChildren } from 'preact'
import type { ActionFailure } from '../../contract/actions.ts'

/** Says what happened; a screen reader hears it too. */
export function Notice(props: { readonly tone: 'good' | 'bad' | 'plain'; readonly children: ComponentChildren }) {
  return (
    <div class={`notice ${props.tone}`} role={props.tone === 'bad' ? 'alert' : 'status'}>
      {props.children}
    </div>
  )
}

export function Failure(props: { readonly failure: ActionFailure | undefined }) {
  if (props.failure === undefined) return null
  return (
    <Notice tone="bad">
      {props.failure.message} <code>{props.failure.code}</code>
    </Notice>
  )
}
