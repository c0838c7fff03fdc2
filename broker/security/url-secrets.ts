// Tokens do not belong in URLs: proxies, browsers and shells write those down. Whoever sends one is told, and the URL is not repeated.

const names =
  /^(auth|authorization|bearer|jwt|pass|passwd|password|secret|token|(access|id|auth|api|refresh)[-_]?(token|key))$/i
const values = /(^|[/=])(ll[akt]_|eyJ[A-Za-z0-9_-]+\.eyJ)/

/** Whether the path and query of a request seem to carry a credential. */
export function hasSecret(url: string): boolean {
  const [path = '', ...rest] = url.split('?')
  const query = rest.join('?')
  if (values.test(path) || values.test(query)) return true
  // As the query is read, whatever of it was escaped.
  return [...new URLSearchParams(query)].some(
    ([name, value]) => names.test(name) || values.test(value),
  )
}
