// Who looks at the console, where the broker asks: a token, typed once per tab.
//
// Guarantees: the token is in this tab's session storage at most, which ends with the tab; it is shown nowhere and goes into no URL.

import { type Client, connect } from '../../client/index.ts'
import { field, fill, form, h } from './dom.ts'
import { showError } from './view.ts'

const tokenKey = 'logloom.token'
const endedKey = 'logloom.ended'
const wantsToken: ReadonlySet<unknown> = new Set([
  'AUTHENTICATION_REQUIRED',
  'AUTHENTICATION_FAILED',
])

/** Connects, and asks in `main` for a token as often as it takes; `tell` is told how far it is. */
export async function signIn(
  url: string,
  main: HTMLElement,
  tell: (state: string) => void,
): Promise<Client> {
  let token = recall(tokenKey)
  let error: unknown = recall(endedKey) === undefined ? undefined : ended
  forget(endedKey)
  for (;;) {
    try {
      const options = { clientId: 'console', ...(token === undefined ? {} : { token }) }
      const client = await connect(url, options)
      if (token !== undefined) remember(tokenKey, token)
      return client
    } catch (why) {
      const { code } = why as { code?: unknown }
      if (!wantsToken.has(code)) throw why
      // That one is needed at all is no error.
      if (token !== undefined) error = why
      forget(tokenKey)
    }
    tell('not signed in')
    token = await askForToken(main, error)
    tell('connecting')
  }
}

/** Whether somebody has signed in here. */
export function isSignedIn(): boolean {
  return recall(tokenKey) !== undefined
}

/** Forgets the token and begins anew. */
export function signOut(): void {
  forget(tokenKey)
  location.reload()
}

/** The client has ended: when it is for its token, another one is asked for. */
export function startAgain(error: unknown): void {
  if (!isSignedIn() || !wantsToken.has((error as { code?: unknown } | undefined)?.code)) return
  remember(endedKey, 'yes')
  signOut()
}

const ended = { message: 'The token that you signed in with has expired or was revoked.' }

function askForToken(main: HTMLElement, error: unknown): Promise<string> {
  return new Promise(resolve => {
    const input = h('input', {
      type: 'password',
      autocomplete: 'off',
      spellcheck: 'false',
      required: true,
      'aria-describedby': 'token-help',
    })
    const errors = h('div')
    const submit = async (): Promise<void> => {
      const token = input.value.trim()
      if (token === '') return
      fill(main, h('p', { class: 'dim', role: 'status' }, 'Signing in…'))
      resolve(token)
    }
    document.title = 'Sign in – Logloom'
    fill(
      main,
      h('h1', {}, 'Sign in'),
      h(
        'section',
        { class: 'card narrow' },
        form(
          submit,
          field('Token', input, true),
          h('button', { type: 'submit', class: 'main' }, 'Sign in'),
        ),
        errors,
        h(
          'p',
          { class: 'dim', id: 'token-help' },
          'An API key, a JWT, or the token in admin.token in the data directory of the broker. This tab keeps it until it is closed.',
        ),
      ),
    )
    if (error !== undefined) showError(errors, error)
    input.focus()
  })
}

/** What is kept where the browser keeps nothing. */
const memory = new Map<string, string>()

function remember(key: string, value: string): void {
  memory.set(key, value)
  try {
    sessionStorage.setItem(key, value)
  } catch {
    // Only in memory then.
  }
}

function recall(key: string): string | undefined {
  try {
    return sessionStorage.getItem(key) ?? memory.get(key)
  } catch {
    return memory.get(key)
  }
}

function forget(key: string): void {
  memory.delete(key)
  try {
    sessionStorage.removeItem(key)
  } catch {
    // It was never there.
  }
}
