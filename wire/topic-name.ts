// Kafka's rule for topic names. Names never become paths: a topic is known by its number inside.

import { LogloomError } from './errors.ts'

const pattern = /^[a-zA-Z0-9._-]{1,249}$/

export function isTopicName(name: string): boolean {
  return pattern.test(name) && name !== '.' && name !== '..'
}

/** @throws INVALID_TOPIC_NAME */
export function checkTopicName(name: string): void {
  if (isTopicName(name)) return
  const shown = name.length > 40 ? `${name.slice(0, 40)}… (${name.length} characters)` : name
  throw new LogloomError(
    'INVALID_TOPIC_NAME',
    `topic name ${JSON.stringify(shown)} is not allowed`,
    {
      limit: 249,
      actual: name.length,
    },
  )
}
