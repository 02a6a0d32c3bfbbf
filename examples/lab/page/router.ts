import { computed, signal } from '@preact/signals'
import { type Chapter, chapters } from '../contract/chapters.ts'

const path = signal(location.pathname)

/** The chapter that the address names. */
export const chapter = computed((): Chapter => chapters.find((each) => each.path === path.value) ?? chapters[0])

/** Goes to a page of the lab without loading it anew, and puts the focus where reading begins. */
export function goTo(event: MouseEvent): void {
  const link = event.currentTarget as HTMLAnchorElement
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  if (link.pathname !== location.pathname) history.pushState(null, '', link.pathname)
  path.value = location.pathname
  scrollTo(0, 0)
  requestAnimationFrame(() => document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true }))
}

addEventListener('popstate', () => {
  path.value = location.pathname
})
