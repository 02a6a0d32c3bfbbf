/**
 * One run of a load that several callers wait for. A caller may share it if the load has not begun, or if the caller can
 * prove that nothing has changed since it began.
 */
export class Flight<T, Proof> {
  readonly result: Promise<T>
  /** Set as the load begins: what the caller must find unchanged to share its result. `undefined` if nothing can prove it. */
  proof: Proof | undefined
  begun = false
  /** Something that the load reads was changed after it began: its result must not be kept. */
  fenced = false
  /** Keeps it open for those who may share it, when its result is there before what they look for. Must not reject. */
  lingers: Promise<void> | undefined
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void

  constructor() {
    let settle: { resolve: (value: T) => void; reject: (reason: unknown) => void } | undefined
    this.result = new Promise<T>((resolve, reject) => {
      settle = { resolve, reject }
    })
    this.resolve = (settle as NonNullable<typeof settle>).resolve
    this.reject = (settle as NonNullable<typeof settle>).reject
    this.result.catch(() => undefined) // whoever waits hears of it; when nobody does, it is no unhandled rejection
  }

  begin(proof?: Proof): void {
    this.begun = true
    this.proof = proof
  }
}

/**
 * Keeps the flights in progress by key, so that many callers cause one load. Unlike the usual single flight it never hands a
 * caller what was read before the caller came, unless that is proven to be current.
 */
export class SingleFlight<T, Proof> {
  readonly #latest = new Map<string, Flight<T, Proof>>()
  readonly #open = new Map<Flight<T, Proof>, readonly string[]>()

  /** The flight of a key that callers meet first. */
  latest(key: string): Flight<T, Proof> | undefined {
    return this.#latest.get(key)
  }

  /**
   * Opens a flight that takes the place of the key's latest; those who wait for the old one still get its result.
   *
   * @param touches what fences the flight when it changes; the key itself always does.
   */
  open(key: string, touches: readonly string[] = []): Flight<T, Proof> {
    const flight = new Flight<T, Proof>()
    this.#latest.set(key, flight)
    this.#open.set(flight, [key, ...touches])
    const ended = async () => {
      if (flight.lingers !== undefined) await flight.lingers
      this.#open.delete(flight)
      if (this.#latest.get(key) === flight) this.#latest.delete(key)
    }
    flight.result.then(ended, ended)
    return flight
  }

  /** Fences every flight that touches one of these keys: its result is not kept, and nobody joins it any more. */
  fence(changed: ReadonlySet<string>): void {
    for (const [flight, touches] of this.#open) {
      if (!touches.some((key) => changed.has(key))) continue
      flight.fenced = true
      const key = touches[0] as string
      if (this.#latest.get(key) === flight) this.#latest.delete(key)
    }
  }
}
