// What can be dialled by a node or a client.

/** `ws://…` or `wss://…`. */
export function isSocketUrl(url: string): boolean {
  return /^wss?:\/\//.test(url) && URL.canParse(url)
}
