// Async generators that can be left while they wait.

/**
 * The generator, with a `return` and a `throw` that call `end` first. By itself it would keep them waiting behind a `next` that is under way, perhaps for
 * ever; `end` makes that one end.
 */
export function endable<T>(
  generator: AsyncGenerator<T, void, void>,
  end: () => void,
): AsyncGenerator<T, void, void> {
  const leave = generator.return.bind(generator)
  const fail = generator.throw.bind(generator)
  return Object.assign(generator, {
    return: (value: void | PromiseLike<void>): Promise<IteratorResult<T, void>> => {
      end()
      return leave(value)
    },
    throw: (error: unknown): Promise<IteratorResult<T, void>> => {
      end()
      return fail(error)
    },
  })
}
