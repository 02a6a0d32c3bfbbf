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

/** Replies to a connection that Redis does not admit: it tries on, in vain. */
const notAdmitted = /^(WRONGPASS|NOAUTH|NOPERM|ERR invalid password|ERR Client sent AUTH|ERR AUTH)\b/

/** What to do about a connection to Redis that does not stand. @param reason why, if it is known. */
export function cureOfAbsence(reason: string, wrongDatabase: boolean): string {
  if (wrongDatabase) return 'At the end of its URL give a database that it has, and that this user may select'
  if (notAdmitted.test(reason)) return 'Give a user and a password in its URL that it admits: it does not come back by itself'
  return 'See that it is up and that this is its address; the connection comes back by itself'
}

/** Tells whether a reply is about the state of the server, which may be better later, and not about the command. */
export function tellsServerState(reply: string): boolean {
  return serverStates.test(reply)
}
