// Whether the prototypes that everything shares are as they were.

const shared: readonly object[] = [
  Object.prototype,
  Array.prototype,
  Function.prototype,
  String.prototype,
  Number.prototype,
  Boolean.prototype,
  Uint8Array.prototype,
  Map.prototype,
  Set.prototype,
  Promise.prototype,
  Error.prototype,
]
const before = shared.map(fingerprint)

/** Names the prototypes that changed since this module was loaded. */
export function changedPrototypes(): readonly string[] {
  return shared.flatMap((prototype, i) =>
    fingerprint(prototype) === before[i] ? [] : [prototype.constructor.name],
  )
}

/** Cheap enough for every input: an enumerable property of `Object.prototype` shows in every object. */
export function isPolluted(): boolean {
  for (const _ in {}) return true
  return false
}

function fingerprint(prototype: object): string {
  return Reflect.ownKeys(prototype).map(String).join()
}
