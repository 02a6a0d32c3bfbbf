/** A typed list inside a {@link CommitScope}: one for recorded events, one for invalidations, one for commit hooks. */
export class Journal<T> {
  /** Never read; ties the items' type to the journal. */
  declare readonly item: T
  readonly name: string
  /** Whether its items outlive the rollback of a savepoint in which they were added. */
  readonly outlives: boolean

  constructor(name: string, { outlives = false } = {}) {
    this.name = name
    this.outlives = outlives
  }
}

/** What was added while one savepoint, or the root transaction itself, was the innermost. */
export interface ScopeLayer {
  /** The savepoint's name; undefined for the root. Savepoints that are open together may share one, as in SQL. */
  readonly name: string | undefined
  /** The savepoint itself; undefined for the root. */
  readonly savepoint: object | undefined
  /** Whether a unit of work runs in this layer, or has run and is about to end it. */
  unit: 'running' | 'ending' | undefined
  /** Whether this savepoint was rolled back. */
  rolledBack: boolean
  /** Why this layer must not be kept, whoever caught the error. */
  fault: unknown
  readonly entries: { readonly journal: Journal<unknown>; readonly item: unknown; readonly position: number }[]
}

/**
 * What one root transaction has gathered to do at its commit. Savepoints are layers: releasing one hands its items to the
 * layer below, rolling it back drops them, so that at commit the scope holds exactly what the transaction kept.
 */
export class CommitScope {
  /** How far the root transaction has come: `closing` while participants write last, `committing` until the database has answered. */
  phase: 'open' | 'closing' | 'committing' | 'committed' = 'open'
  /** Whether the root transaction is over, committed or not. */
  over = false
  /** Whether a unit of work runs in the root transaction, or has run. */
  hasUnit = false
  readonly #layers: ScopeLayer[] = [openLayer(undefined, undefined)]
  #position = 0

  /** The innermost layer: remember it to add to it later, whatever savepoints are open by then. */
  get layer(): ScopeLayer {
    return this.#layers.at(-1) as ScopeLayer
  }

  /** That of a transaction or savepoint; the root's, of which everything is kept, if the savepoint is over. */
  layerOf(transaction: object | undefined): ScopeLayer {
    return this.#layers.find(({ savepoint }) => savepoint === transaction) ?? (this.#layers[0] as ScopeLayer)
  }

  /** How many savepoints are open. */
  get depth(): number {
    return this.#layers.length - 1
  }

  /** Adds an item to a layer, the innermost unless named. */
  append<T>(journal: Journal<T>, item: T, layer: ScopeLayer = this.layer): void {
    layer.entries.push({ journal, item, position: this.#position++ })
  }

  /** The items of a journal kept so far, in the order in which they were added; of one layer, if it is named. */
  read<T>(journal: Journal<T>, layer?: ScopeLayer): T[] {
    const kept: ScopeLayer['entries'] = []
    for (const { entries } of layer === undefined ? this.#layers : [layer]) {
      for (const entry of entries) if (entry.journal === journal) kept.push(entry)
    }
    return kept.sort((one, other) => one.position - other.position).map((entry) => entry.item as T)
  }

  /** Whether a unit of work has a savepoint open above a layer. */
  unitAbove(layer: ScopeLayer): boolean {
    const index = this.#layers.indexOf(layer)
    return index >= 0 && this.#layers.slice(index + 1).some(({ unit }) => unit !== undefined)
  }

  openSavepoint(name: string, savepoint?: object): ScopeLayer {
    const layer = openLayer(name, savepoint)
    this.#layers.push(layer)
    return layer
  }

  /** Hands the items of the last savepoint of that name, and of those inside it, to the layer below: what SQL releases. */
  releaseSavepoint(name: string): void {
    // One by one: a spread of a hundred thousand entries would overflow the stack.
    for (const { entries } of this.#take(name)) for (const entry of entries) this.layer.entries.push(entry)
  }

  /**
   * Drops the items of the last savepoint of that name, and of those inside it: what SQL rolls back. Items that outlive that go
   * to the layer below, unless the savepoint was a unit's, which sees to them itself.
   */
  rollbackSavepoint(name: string): void {
    this.#drop(this.#take(name))
  }

  /** The same for a savepoint whose rollback may have failed. @returns false if it was rolled back. */
  abandonSavepoint(layer: ScopeLayer): boolean {
    const { rolledBack } = layer
    const index = this.#layers.indexOf(layer)
    if (index > 0) this.#drop(this.#layers.splice(index))
    return !rolledBack
  }

  #drop(dropped: ScopeLayer[]): void {
    for (let layer = dropped.pop(); layer !== undefined; layer = dropped.pop()) {
      layer.rolledBack = true
      const below = dropped.at(-1) ?? this.layer
      if (layer.unit === undefined) for (const entry of layer.entries) if (entry.journal.outlives) below.entries.push(entry)
    }
  }

  #take(name: string): ScopeLayer[] {
    const index = this.#layers.findLastIndex((layer) => layer.name === name)
    return index < 0 ? [] : this.#layers.splice(index)
  }
}

function openLayer(name: string | undefined, savepoint: object | undefined): ScopeLayer {
  return { name, savepoint, unit: undefined, rolledBack: false, fault: undefined, entries: [] }
}
