/**
 * Replaces the password of a URL by `***`, also in one that cannot be parsed: with a line break, without its `//`, in quotes. What it then
 * takes for a password may be more than that, and is never less.
 */
export function maskPassword(url: string): string {
  const hasAuthority = /^[a-z][a-z0-9+.-]*:\/\//i.test(url)
  const masked = url.replace(hasAuthority ? /^([^:]*:\/\/[^:/@]*):[\s\S]*@/ : /^([^:@]*):[\s\S]*@/, '$1:***@')
  return masked.replace(/((?:ssl)?password=)[^&\s"']*/gi, '$1***')
}
