// Who may talk to the HTTP port (protocol.md 1.3). Loopback is no boundary for browsers: any page can dial ws://localhost, and DNS
// rebinding makes a foreign name point here. So the Host must be ours, and an Origin, when sent, must be allowed.

export interface HostRules {
  /** Address that the server is bound to. */
  readonly host: string
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
}

/** True for names and addresses that only this machine can mean. */
export function isLoopback(host: string): boolean {
  return (
    host === 'localhost' ||
    host === '::1' ||
    host === '[::1]' ||
    /^127\.\d+\.\d+\.\d+$/.test(host) ||
    host.endsWith('.localhost')
  )
}

/** Checks a Host header. */
export function hostAllowed(header: string | undefined, rules: HostRules): boolean {
  const name = hostName(header)
  if (name === undefined) return false
  return (
    isLoopback(name) ||
    name === rules.host ||
    rules.allowedHosts.includes(name) ||
    rules.allowedHosts.includes(header ?? '')
  )
}

/** Checks an Origin header against the Host header of the same request. Clients that are no browsers send none. */
export function originAllowed(
  origin: string | undefined,
  hostHeader: string | undefined,
  rules: HostRules,
): boolean {
  if (origin === undefined) return true
  if (rules.allowedOrigins.includes(origin)) return true
  let url: URL
  try {
    url = new URL(origin)
  } catch {
    return false
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return false
  return url.host === hostHeader || isLoopback(url.hostname)
}

/** Lower-case name without the port. */
function hostName(header: string | undefined): string | undefined {
  if (header === undefined || header === '') return undefined
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::\d{1,5})?$/.exec(header)
  return match?.[1]?.toLowerCase()
}
