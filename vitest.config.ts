import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// Sources are tested as they are; `#platform` is what package.json's export conditions choose for Node.
export default defineConfig({
  resolve: {
    alias: { '#platform': fileURLToPath(new URL('./wire/platform.node.ts', import.meta.url)) },
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})
