import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'

/** A certificate that signed itself, and its key, as PEM. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
}

/** Makes a certificate for host names, valid around now: no key stands in the repository, and no program is needed. */
export function makeCertificate(...hosts: readonly string[]): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(objectId('2a8648ce3d040302')) // ecdsa-with-SHA256, RFC 5758
  const commonName = sequence(der(0x31, sequence(objectId('550403'), der(0x0c, Buffer.from('data-access test')))))
  const day = 86_400_000
  const subjectAltName = sequence(
    objectId('551d11'),
    der(0x04, sequence(...hosts.map((host) => der(0x82, Buffer.from(host, 'latin1'))))),
  )
  // TBSCertificate, RFC 5280, section 4.1.
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    commonName,
    sequence(time(Date.now() - day), time(Date.now() + day)),
    commonName,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(subjectAltName)),
  )
  const signed = sequence(content, algorithm, bits(sign('sha256', content, privateKey)))
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${signed.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** A value of DER: its tag, the length of its content, the content. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const size = content.length
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), content])
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts)
}

function objectId(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'))
}

function bits(content: Buffer): Buffer {
  return der(0x03, Buffer.from([0]), content)
}

function time(at: number): Buffer {
  return der(0x17, Buffer.from(`${new Date(at).toISOString().replace(/\D/g, '').slice(2, 14)}Z`))
}
