/** Milliseconds as people read them: three digits that matter. */
export function ms(milliseconds: number): string {
  if (milliseconds < 1) return `${milliseconds.toFixed(3)} ms`
  if (milliseconds < 100) return `${milliseconds.toFixed(1)} ms`
  return milliseconds < 10_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${value.toLocaleString('en')} ${value === 1 ? one : many}`
}

/** The time of day of an ISO timestamp, with its milliseconds. */
export function clock(iso: string): string {
  const date = new Date(iso)
  return `${date.toLocaleTimeString('en-GB')}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

export function shortId(id: string): string {
  return `…${id.slice(-8)}`
}
