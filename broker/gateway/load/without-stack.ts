// Errors that answer a client under overload: nobody looks at where they were made, and that costs more than all the rest of a refusal.

/** Makes an error without a stack trace. */
export function withoutStack<T extends Error>(make: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
