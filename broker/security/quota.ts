// What one principal may use at most. Here are the numbers; who counts is the gateway.

export const quotaKinds = [
  'producerByteRate',
  'consumerByteRate',
  'requestRate',
  'connections',
  'inFlightBytes',
  'topics',
  'partitions',
] as const
export type QuotaKind = (typeof quotaKinds)[number]

/** Rates per second, the others at one time; what is absent is not limited. */
export type Quota = { readonly [K in QuotaKind]?: number }
