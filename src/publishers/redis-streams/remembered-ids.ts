/** What a Redis Cluster takes for a hash tag: behind the first `{`, up to the next `}`, at least one character. */
const hashTag = /^[^{]*\{[^}]+\}/

/**
 * Tells whether a stream's ids can be kept in its hash slot. A tag is what ends at a `}`, so none can be put around a name that
 * holds one, and a name that has its own needs none.
 */
export function canRememberIds(stream: string): boolean {
  return hashTag.test(stream) || !stream.includes('}')
}

/** The key of a stream's remembered ids, in the hash slot of a stream that {@link canRememberIds}. */
export function rememberedIdsKey(stream: string): string {
  return hashTag.test(stream) ? `${stream}:published` : `{${stream}}:published`
}
