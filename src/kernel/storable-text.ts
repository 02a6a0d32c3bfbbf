/** Whether a database gives a text back as it got it: PostgreSQL refuses NUL, and half a surrogate pair has no bytes in UTF-8. */
export function isStorableText(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed()
}
