/** An entity as the diagram draws it. */
export interface EntityPicture {
  readonly name: string
  readonly table: string
  readonly columns: readonly {
    readonly name: string
    readonly type: string
    readonly primary: boolean
    readonly unique: boolean
    readonly nullable: boolean
    /** The entity that a foreign key leads to. */
    readonly references: string | null
  }[]
  /** What belongs to it: one to many. */
  readonly collections: readonly { readonly name: string; readonly entity: string }[]
}

/** A piece of the lab's own source. */
export interface CodeExcerpt {
  readonly file: string
  readonly line: number
  readonly tokens: readonly CodeToken[]
}

/** A piece of code, and what it is to the highlighter: such as `keyword`, or '' for plain text. */
export interface CodeToken {
  readonly text: string
  readonly kind: string
}
