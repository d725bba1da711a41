/** The test projects of the workspace; `vitest.config.ts` hands them to vitest. */
export default ["packages/*", "docs", "scratchpad"]
