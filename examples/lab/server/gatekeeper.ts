import type { MiddlewareHandler } from 'hono'

/** Scripts, styles and requests of this server alone; nobody frames the lab, and nothing is written into a page as HTML. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * Lets in only those who mean this server: a foreign Host is a name that somebody else made to point here, a foreign Origin a page
 * of somebody else that would press the lab's buttons.
 */
export function gatekeeper(port: () => number): MiddlewareHandler {
  return async (context, next) => {
    const hosts = [`127.0.0.1:${port()}`, `localhost:${port()}`]
    const host = context.req.header('host') ?? ''
    const origin = context.req.header('origin')
    if (!hosts.includes(host)) return context.text(`The lab answers as ${hosts.join(' and ')} alone, not as ${host}.\n`, 403)
    if (origin !== undefined && origin !== `http://${host}`)
      return context.text('The lab takes no requests from other pages.\n', 403)
    if (context.req.header('sec-fetch-site') === 'cross-site' && context.req.method !== 'GET') {
      return context.text('The lab takes no requests from other pages.\n', 403)
    }
    await next()
    context.header('content-security-policy', contentSecurityPolicy)
    context.header('x-content-type-options', 'nosniff')
    context.header('referrer-policy', 'no-referrer')
    context.header('cross-origin-opener-policy', 'same-origin')
    context.header('cross-origin-resource-policy', 'same-origin')
    return undefined
  }
}
