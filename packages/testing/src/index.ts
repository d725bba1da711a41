/**
 * For tests of programs that use Cycles: `CyclesTest` has the Layer and the assertions, and `Fault` has the faults that a test
 * injects.
 *
 * @since 0.1.0
 */
export * as CyclesTest from "./CyclesTest.ts"
export * as Fault from "./Fault.ts"
