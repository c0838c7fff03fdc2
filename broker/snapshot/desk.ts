// Images of snapshots that clients are taking from this broker. A page is kept until the next one is asked for, so a lost reply costs nothing and the memory
// falls while the image is read; what nobody reads goes when its time is over.

import { LogloomError } from '../../wire/errors.ts'
import type { ImagePage, SnapshotImage } from './image.ts'

/** Images at once: each may have `imageBytesMax`. */
const imagesMax = 2

interface Kept {
  readonly pages: (ImagePage | undefined)[]
  readonly count: number
  /** By the monotonic clock, ms. */
  until: number
}

export class SnapshotDesk {
  private readonly images = new Map<string, Kept>()
  private readonly now: () => number

  /** `now`: monotonic, ms. */
  constructor(now: () => number) {
    this.now = now
  }

  /** @throws LIMIT_EXCEEDED */
  checkRoom(): void {
    this.sweep()
    if (this.images.size < imagesMax) return
    throw new LogloomError(
      'LIMIT_EXCEEDED',
      `${imagesMax} snapshots begin at this broker at once (imagesMax)`,
      { limit: imagesMax, actual: imagesMax + 1 },
      { retriable: true, hint: 'try again in a minute, or at another broker' },
    )
  }

  keep(id: string, { pages }: SnapshotImage, ms: number): void {
    this.images.set(id, { pages: [...pages], count: pages.length, until: this.now() + ms })
  }

  renew(id: string, ms: number): void {
    const kept = this.images.get(id)
    if (kept !== undefined) kept.until = this.now() + ms
  }

  /** @throws SNAPSHOT_EXPIRED, INVALID_REQUEST */
  page(id: string, number: number): ImagePage {
    this.sweep()
    const kept = this.images.get(id)
    if (kept === undefined)
      throw new LogloomError(
        'SNAPSHOT_EXPIRED',
        `this broker has no image of snapshot ${id.slice(0, 40)}: it was begun elsewhere, or its time is over`,
      )
    for (let n = number - 1; n >= 0 && kept.pages[n] !== undefined; n--) kept.pages[n] = undefined
    const page = kept.pages[number]
    if (page !== undefined) return page
    throw new LogloomError(
      'INVALID_REQUEST',
      `page ${number} of ${kept.count} is not there, or was left behind`,
      { field: 'page', limit: kept.count, actual: number },
    )
  }

  drop(id: string): void {
    this.images.delete(id)
  }

  private sweep(): void {
    const now = this.now()
    for (const [id, { until }] of this.images) if (until <= now) this.images.delete(id)
  }
}
