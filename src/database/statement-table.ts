/** The table that a statement is about first, as MikroORM and Kysely quote it: what else stands in its text may be a value, which no log may have. */
export function tableOf(sql: string): string | undefined {
  return /\b(?:from|into|update)\s+(?:["`]\w+["`]\.)?["`](\w+)["`]/i.exec(sql)?.[1]
}
