/**
 * Guarded activities for the durable workflows of `effect/workflow`, which is unstable. A separate entry point, so that
 * no other entry point loads workflows.
 *
 * @since 0.1.0
 */
export * as CyclesActivity from "./CyclesActivity.ts"
