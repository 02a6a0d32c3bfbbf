import { Cluster, Redis } from 'ioredis'
import { openRedisServer, type RestartableServer } from './servers/restartable-servers.ts'
import { freePort } from './servers/server-process.ts'

/** A Redis Cluster of three nodes, without replicas, on this machine. */
export interface TestCluster {
  /** Opens a client, as an application would give it to the cache. The cluster's close() ends it. */
  connect(): Promise<Cluster>
  close(): Promise<void>
}

const nodeCount = 3
const slots = 16_384
/** A node hears the others on its port plus this. */
const busOffset = 10_000

/** Starts three nodes, divides the slots among them, and resolves once all of them know it. */
export async function openTestCluster(): Promise<TestCluster> {
  const nodes: RestartableServer[] = []
  const clients: { disconnect(): void }[] = []
  const close = async () => {
    for (const client of clients) client.disconnect()
    for (const node of nodes) await node.close()
  }
  try {
    for (let number = 0; number < nodeCount; number++) nodes.push(await openNode())
    const admins = nodes.map(({ url }) => new Redis(url))
    clients.push(...admins)
    const ports = nodes.map(({ url }) => Number(new URL(url).port))
    const share = Math.ceil(slots / nodeCount)
    for (const [index, admin] of admins.entries()) {
      const own = Array.from({ length: Math.min(share, slots - index * share) }, (_, slot) => index * share + slot)
      await admin.cluster('ADDSLOTS', own)
      if (index > 0) await admin.cluster('MEET', '127.0.0.1', ports[0] as number)
    }
    for (const admin of admins) await untilWhole(admin)
    const connect = async () => {
      const cluster = new Cluster(ports.map((port) => ({ host: '127.0.0.1', port })))
      clients.push(cluster)
      await cluster.ping()
      return cluster
    }
    return { connect, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function openNode(): Promise<RestartableServer> {
  let port = await freePort()
  while (port + busOffset > 65_535) port = await freePort()
  return openRedisServer({ port, appendonly: 'no', 'cluster-enabled': 'yes' })
}

async function untilWhole(admin: Redis): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const [info, nodes] = await Promise.all([admin.cluster('INFO'), admin.cluster('NODES')])
    if (String(info).includes('cluster_state:ok') && String(nodes).trim().split('\n').length === nodeCount) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the nodes of the test cluster did not find each other within 30 s')
}
