import type { LogVerification } from '../../client/index.ts'
export function verifyOffline(data: string): Promise<LogVerification> {
  return Promise.reject(new Error(data))
}
