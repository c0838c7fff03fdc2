import { describe, expect, it } from 'vitest'
import { plantedBugs } from './bugs.ts'
import { hunt, mutate } from './plant.ts'

describe('planted bugs', () => {
  it.each(plantedBugs.map(bug => [bug.name, bug] as const))(
    '"%s" can still be planted: its text occurs once',
    async (_, bug) => {
      expect(await mutate(bug)).toContain(bug.replace)
    },
  )

  it('with a text that is gone are an error, not a bug that was found', async () => {
    const stale = {
      name: 'stale',
      file: 'loglets/striped/stripe-map.ts',
      find: 'no such text',
      replace: '',
      scenario: 'log',
    } as const
    await expect(mutate(stale)).rejects.toThrow('occurs 0 times')
  })

  // The whole list takes minutes: test/mutations/run.ts.
  it.each([
    'file: acks before the sync',
    'striped: acks without waiting for earlier positions',
    'reconfigure: takes the tail before the seal',
    'producers: a retried request is appended again',
  ])('"%s" is found by the simulation', async name => {
    const bug = plantedBugs.find(b => b.name === name)
    if (bug === undefined) throw new Error(`no planted bug ${name}`)
    const verdict = await hunt(bug, 40, 50)
    expect(verdict).toMatchObject({ outcome: 'found' })
  })
})
