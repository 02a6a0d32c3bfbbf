import { useSignal } from '@preact/signals'
import type { ActionFailure, ActionInput, ActionName, ActionResults } from '../contract/actions.ts'

/** An action as a page uses it: how to do it, and how the last time went. */
export interface Action<Name extends ActionName> {
  readonly busy: boolean
  readonly result: ActionResults[Name] | undefined
  readonly failure: ActionFailure | undefined
  run(input: ActionInput<Name>): Promise<ActionResults[Name] | undefined>
}

/** Binds a button of this page to an action of the lab. */
export function useAction<Name extends ActionName>(name: Name): Action<Name> {
  const busy = useSignal(false)
  const result = useSignal<ActionResults[Name] | undefined>(undefined)
  const failure = useSignal<ActionFailure | undefined>(undefined)
  return {
    busy: busy.value,
    result: result.value,
    failure: failure.value,
    run: async (input) => {
      busy.value = true
      try {
        const answer = await ask(name, input)
        result.value = 'failure' in answer ? undefined : answer.result
        failure.value = 'failure' in answer ? answer.failure : undefined
        return result.value
      } finally {
        busy.value = false
      }
    },
  }
}

type Answer<Name extends ActionName> = { readonly result: ActionResults[Name] } | { readonly failure: ActionFailure }

async function ask<Name extends ActionName>(name: Name, input: ActionInput<Name>): Promise<Answer<Name>> {
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(input) }
  try {
    const response = await fetch(`/api/actions/${name}`, request)
    const body: unknown = await response.json()
    return response.ok ? { result: body as ActionResults[Name] } : { failure: body as ActionFailure }
  } catch {
    return { failure: { code: 'LAB_AWAY', message: 'The lab does not answer. Is it still running in its terminal?' } }
  }
}
