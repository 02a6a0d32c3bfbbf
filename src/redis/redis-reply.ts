/** Tells whether an error is an answer of Redis; any other is the end of the connection. */
export function isRedisReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

/**
 * Replies that tell of the server's state and not of the command: it loads, follows, is full, wants a password, or is a node of a
 * cluster that has the key elsewhere, which a client of one server cannot follow. They pass, and no command is to blame.
 */
const serverStates =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|OOM|NOREPLICAS|NOAUTH|WRONGPASS|MISCONF)\b/

/** Tells whether a reply is about the state of the server, which may be better later, and not about the command. */
export function tellsServerState(reply: string): boolean {
  return serverStates.test(reply)
}
