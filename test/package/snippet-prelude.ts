// What a `ts` block of the README or docs may use without importing it. A block's own imports and names come before these.
export {}

declare global {}
