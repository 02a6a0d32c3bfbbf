import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { Hono } from 'hono'
import { UsageError } from './usage-error.ts'

/**
 * Listens on the loopback alone. A port that is taken is not exchanged for another one in silence.
 *
 * @throws UsageError with one clear sentence for a port that cannot be had.
 */
export async function listen(app: Hono, port: number): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createAdaptorServer({ fetch: app.fetch }) as Server
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(new UsageError(explain(error, port), { cause: error })))
    server.listen(port, '127.0.0.1', resolve)
  })
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections() // live feeds never end by themselves
    await closed
  }
  return { port: (server.address() as AddressInfo).port, close }
}

function explain({ code, message }: NodeJS.ErrnoException, port: number): string {
  if (code === 'EADDRINUSE')
    return `Port ${port} is taken by another program: give one by --port, or --port 0 for any that is free`
  if (code === 'EACCES') return `Port ${port} is reserved by this system: give one above 1023 by --port`
  return `Port ${port} cannot be used: ${message}`
}
