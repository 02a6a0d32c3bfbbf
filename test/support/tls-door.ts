import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import type { TestCertificate } from './certificate.ts'

/** A door in front of a PostgreSQL that speaks TLS, as one with `ssl = on` does. */
export interface TlsDoor {
  readonly port: number
  /** Connections that were encrypted, since it opened. */
  readonly encrypted: number
  /** Connections that came in plain text. */
  readonly plain: number
  close(): Promise<void>
}

/** How a client asks for TLS: a message of eight bytes with this number behind its length. */
const sslRequest = 80_877_103
/** The first byte of a TLS handshake, for a client that does not ask. */
const handshake = 0x16

/** Opens a door on a free port of 127.0.0.1 that leads to `targetPort` of 127.0.0.1. */
export async function openTlsDoor(targetPort: number, certificate: TestCertificate): Promise<TlsDoor> {
  const secureContext = createSecureContext(certificate)
  const sockets = new Set<Socket>()
  const counts = { encrypted: 0, plain: 0 }
  const join = (one: Socket, other: Socket) => {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      sockets.add(from)
      from.pipe(to)
      from.on('error', () => undefined) // 'close' follows and does the work
      from.once('close', () => to.destroy())
    }
  }
  const toServer = () => createConnection(targetPort, '127.0.0.1')
  const encrypt = (client: Socket) => {
    counts.encrypted++
    join(new TLSSocket(client, { isServer: true, secureContext, ALPNProtocols: ['postgresql'] }), toServer())
  }
  const server = createServer((client) => {
    sockets.add(client)
    client.on('error', () => undefined)
    client.once('data', (first: Buffer) => {
      client.pause()
      if (first[0] === handshake) {
        client.unshift(first)
        return encrypt(client)
      }
      if (first.readInt32BE(4) === sslRequest) {
        client.write('S')
        return encrypt(client)
      }
      counts.plain++
      client.unshift(first)
      join(client, toServer())
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get encrypted() {
      return counts.encrypted
    },
    get plain() {
      return counts.plain
    },
    close: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
