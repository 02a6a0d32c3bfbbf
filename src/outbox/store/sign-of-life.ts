import type { RelayRates } from './relay-rates.ts'

/** Why a relay publishes nothing, and since when. It goes on by itself. */
export interface RelayPause {
  /** What is away: the publisher, which said so itself, or the database. */
  readonly cause: 'publisher' | 'database'
  /** By the clock of the relay's machine. */
  readonly since: Date
  /** The error with which it began, and its causes, in words; passwords in URLs are masked. */
  readonly error: string
}

/** What a relay tells the others beside that it lives. */
export interface SignOfLife {
  readonly rates: RelayRates
  readonly paused: RelayPause | undefined
}

/** A sign of life as the column `outbox_relays.rates` has it. */
export type StoredSign = RelayRates & { readonly paused?: Omit<RelayPause, 'since'> & { readonly since: string } }

const noRates: RelayRates = { published: 0, retried: 0, deadLettered: 0 }

export function writeSign({ rates, paused }: SignOfLife): string {
  return JSON.stringify({ ...rates, paused })
}

export function readSign(text: string | null): SignOfLife {
  if (text === null) return { rates: noRates, paused: undefined }
  const { paused, ...rates } = JSON.parse(text) as StoredSign
  return { rates, paused: paused && { ...paused, since: new Date(paused.since) } }
}
