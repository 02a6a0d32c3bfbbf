/** What may stand before the first word of a statement. */
const lead = String.raw`^(?:\s|;|\(|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*`

/** Only the first word is looked at, where no text of a row can stand. */
const ending = new RegExp(
  String.raw`${lead}(?:commit\b|end\b|abort\b|prepare\s+transaction\b|rollback\b(?!(?:\s+(?:work|transaction))?\s+to\b))`,
  'i',
)

const reading = new RegExp(
  String.raw`${lead}(?:select|with|values|table|show|explain(?!\s+(?:\(\s*)?analy[sz]e)|pragma|fetch|set|reset|listen|notify|declare|close|move|analy[sz]e)\b`,
  'i',
)

const begun = new RegExp(String.raw`${lead}with\b`, 'i')

/** Texts and quoted names, in which words mean nothing. */
const literals = /'(?:[^']|'')*'|"(?:[^"]|"")*"/g

/** What a `with` may hide. */
const hidden = /\b(?:insert\s+into|delete\s+from|merge\s+into|update\s[^;]{1,300}?\sset)\s/i

/** Whether a statement ends the transaction in which it runs, as PostgreSQL and SQLite spell that; a savepoint's end does not. */
export function endsTransaction(statement: string): boolean {
  return ending.test(statement)
}

/** Whether a statement may write rows: any that does not begin as a read does. */
export function writesRows(statement: string): boolean {
  return !reading.test(statement) || (begun.test(statement) && hidden.test(statement.replace(literals, ' ')))
}
