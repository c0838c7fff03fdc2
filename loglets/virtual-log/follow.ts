// What to do with a sealed last segment: wait for the chain that continues it, and finish the reconfiguration oneself when none comes
// (DESIGN 4.2: "with the same spec, a fresh id"; OSDI 2020, section 3.2).
//
// One follower per sealed segment, whoever waits. It polls the MetaStore, since somebody else may have moved the chain, and is woken by
// changes that this process made or saw.

import { type Chain, lastSegment } from '../chain.ts'
import { type ChainView, isFinal } from './chain-view.ts'

export interface FollowOptions {
  readonly view: ChainView
  readonly takeoverMs: number
  /** True while a reconfiguration of this process is under way. */
  readonly busy: () => boolean
  /** Reconfigures segment `index` with its own spec. */
  readonly takeOver: (index: number) => Promise<unknown>
}

const pollMsMin = 5
const pollMsMax = 250

export class Follower {
  private readonly options: FollowOptions
  private following: { readonly index: number; readonly done: Promise<Chain> } | undefined

  constructor(options: FollowOptions) {
    this.options = options
  }

  /** Resolves once the last segment's index is greater than `beyondIndex`. */
  follow(beyondIndex: number): Promise<Chain> {
    const { chain } = this.options.view
    if (lastSegment(chain).index > beyondIndex) return Promise.resolve(chain)
    if (this.following?.index !== beyondIndex) {
      const done = this.run(beyondIndex)
      this.following = { index: beyondIndex, done }
      const clear = (): void => {
        if (this.following?.done === done) this.following = undefined
      }
      done.then(clear, clear)
    }
    return this.following.done
  }

  /** Resolves once nothing is followed any more. */
  async idle(): Promise<void> {
    await this.following?.done.catch(() => {})
  }

  private async run(beyondIndex: number): Promise<Chain> {
    const { view, takeoverMs } = this.options
    const { clock, random } = view.options
    const patienceMs = takeoverMs * (1 + random.next() / 2)
    let since = clock.now()
    let reported = false
    for (let pollMs = pollMsMin; ; pollMs = Math.min(pollMs * 2, pollMsMax)) {
      const last = lastSegment(view.chain)
      if (last.index > beyondIndex) return view.chain
      try {
        if (lastSegment(await view.refresh()).index > beyondIndex) return view.chain
        if (this.options.busy()) since = clock.now()
        else if (clock.now() - since >= patienceMs && (await this.isSealed(beyondIndex)))
          await this.options.takeOver(beyondIndex)
      } catch (error) {
        view.closing.signal.throwIfAborted()
        if (isFinal(error)) throw error
        if (!reported) view.options.onEvent({ type: 'stuck', segment: last, error: error as Error })
        reported = true
      }
      await this.pause(beyondIndex, pollMs)
    }
  }

  private async isSealed(index: number): Promise<boolean> {
    const { last } = this.options.view
    if (last.segment.index !== index || last.loglet === undefined)
      return last.segment.index === index
    return (await last.checkTail(last.loglet)).sealed
  }

  private async pause(beyondIndex: number, ms: number): Promise<void> {
    const { view } = this.options
    const woken = new AbortController()
    const moved = view.waitFor(c => lastSegment(c).index > beyondIndex, woken.signal)
    const slept = view.options.clock.sleep(ms, woken.signal)
    try {
      await Promise.race([moved, slept])
    } finally {
      woken.abort()
      moved.catch(() => {})
      slept.catch(() => {})
    }
  }
}
