import { createConnection, createServer, type Socket } from 'node:net'
import { freePort } from './servers/server-process.ts'

/** A door in front of a server that can fail the way networks do. Not a fault of the server: it stays whole behind it. */
export interface TcpProxy {
  readonly port: number
  /** Connections now open through the proxy. */
  readonly open: number
  /** Keeps connections open, and new ones too, but nothing comes through: a hung server, a network that swallows packets. */
  stall(): void
  /** Lets everything through again, also what waited; nothing where it did not stall. */
  resume(): void
  /** Destroys every connection now open; new ones get through. */
  cut(): void
  /** Refuses new connections and destroys the open ones: the server is down. */
  refuse(): Promise<void>
  /** Takes connections again, on the same port, after `refuse`. */
  accept(): Promise<void>
  /** Leads new connections to another port, and destroys the open ones: a name that points elsewhere after a failover. */
  leadTo(port: number): void
  /** Ends the proxy. May be called twice. */
  close(): Promise<void>
}

/** A proxy whose server has a URL. */
export interface UrlProxy extends TcpProxy {
  /** The URL of the server, led through the proxy. */
  readonly url: string
}

/** Opens a proxy to the server of a URL. */
export async function openProxyTo(target: string): Promise<UrlProxy> {
  const url = new URL(target)
  const proxy = await openProxy(Number(url.port))
  url.port = String(proxy.port)
  return Object.assign(proxy, { url: url.href })
}

/** Opens a proxy on a free port of 127.0.0.1 that leads to `targetPort` of 127.0.0.1. */
export async function openProxy(targetPort: number): Promise<TcpProxy> {
  let leadsTo = targetPort
  const port = await freePort()
  const pairs = new Set<readonly [Socket, Socket]>()
  let stalled = false

  const server = createServer((client) => {
    const target = createConnection(leadsTo, '127.0.0.1')
    const pair = [client, target] as const
    pairs.add(pair)
    for (const [from, to] of [pair, [target, client]] as const) {
      from.setNoDelay(true)
      from.pipe(to)
      from.on('error', () => undefined) // 'close' follows and does the work
      from.once('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
    }
    if (stalled) hold(pair)
  })
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject)
        resolve()
      })
    })
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy()
  }
  const refuse = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    cut()
    await closed
  }
  await listen()

  return {
    port,
    get open() {
      return pairs.size
    },
    stall: () => {
      stalled = true
      for (const pair of pairs) hold(pair)
    },
    resume: () => {
      // Piped once more, everything would come through twice.
      if (!stalled) return
      stalled = false
      for (const [client, target] of pairs) {
        client.pipe(target)
        target.pipe(client)
      }
    },
    cut,
    refuse,
    accept: listen,
    leadTo: (target) => {
      leadsTo = target
      cut()
    },
    close: refuse,
  }
}

// Unpiped and paused, a socket is not read: what arrives stays in the system's buffers, as behind a network that stands still.
function hold(pair: readonly [Socket, Socket]): void {
  for (const socket of pair) {
    socket.unpipe()
    socket.pause()
  }
}
