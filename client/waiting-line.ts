// Those who wait, in order of arrival. Whoever leaves, first or in between, costs the others nothing.

/** Marks one who has left without its turn. */
interface Place<T> {
  one: T | undefined
}

export class WaitingLine<T extends object> {
  #places: Place<T>[] = []
  #first = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Returns the way to leave; leaving twice, or after the turn, does nothing. */
  join(one: T): () => void {
    const place: Place<T> = { one }
    this.#places.push(place)
    this.#size++
    return () => {
      if (place.one === undefined) return
      place.one = undefined
      this.#size--
      this.#tidy()
    }
  }

  /** Takes the first out of the line. */
  next(): T | undefined {
    while (this.#first < this.#places.length) {
      const place = this.#places[this.#first++] as Place<T>
      const { one } = place
      if (one === undefined) continue
      place.one = undefined
      this.#size--
      this.#tidy()
      return one
    }
    return undefined
  }

  /** No more than half of the places are empty, but for a few. */
  #tidy(): void {
    if (this.#places.length <= 2 * this.#size + 16) return
    this.#places = this.#places.filter(({ one }, at) => at >= this.#first && one !== undefined)
    this.#first = 0
  }
}
