// A token in the WebSocket subprotocol, for pages: `Sec-WebSocket-Protocol: logloom, logloom.auth.<token as base64url>`. The answer is `logloom`,
// so the token is not sent back.

export const subprotocol = 'logloom'
const authPrefix = 'logloom.auth.'

/** The token among the protocols that a client offers. */
export function offeredToken(header: string | undefined): string | undefined {
  const offered = protocolsIn(header).find(name => name.startsWith(authPrefix))
  if (offered === undefined) return undefined
  return Buffer.from(offered.slice(authPrefix.length), 'base64url').toString()
}

/** What is answered: ours, else the first that is no token; false for none. */
export function chosenProtocol(offered: ReadonlySet<string>): string | false {
  if (offered.has(subprotocol)) return subprotocol
  for (const name of offered) if (!name.startsWith(authPrefix)) return name
  return false
}

function protocolsIn(header: string | undefined): readonly string[] {
  return header === undefined ? [] : header.split(',').map(name => name.trim())
}
