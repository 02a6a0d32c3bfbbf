/** How often a race is run again behind its first time, for `test(…, { repeats })`: REPEATS=100 hunts for what happens rarely. */
export const repeats = Math.max(1, Number(process.env.REPEATS ?? 1)) - 1
