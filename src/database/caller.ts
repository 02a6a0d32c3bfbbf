/** Frames enough to reach the application through MikroORM and our own. */
const frameLimit = 60

/** The folder of this library's own code, as stack traces show it: src in the repository, dist in the package. */
const ownCode = import.meta.url.replace(/^(.*\/(?:src|dist)\/).*$/, '$1')

const location = /(?:\(|^\s*at (?:async )?)((?:file:\/\/|\/|[A-Za-z]:[\\/]).*:\d+:\d+)\)?$/

/** Takes the stack of here; reading it is what costs, and is left to {@link callerLine}. */
export function captureStack(): Error {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = frameLimit
  const stack = new Error('caller')
  Error.stackTraceLimit = before
  return stack
}

/** The first line of the application in a stack, as `path:line:column`: outside Node, node_modules and this library. */
export function callerLine({ stack = '' }: Error): string | undefined {
  for (const frame of stack.split('\n').slice(1)) {
    const place = location.exec(frame)?.[1]
    if (place === undefined || /[\\/]node_modules[\\/]/.test(place) || isOwn(place)) continue
    return place.replace(/^file:\/\//, '')
  }
  return undefined
}

function isOwn(place: string): boolean {
  return place.startsWith(ownCode) || place.startsWith(ownCode.replace(/^file:\/\//, ''))
}
