/**
 * Guarded activities for the durable workflows of `effect/workflow`, which is unstable. An entry point of its own, so that
 * nothing else loads workflows.
 *
 * @since 0.1.0
 */
export * as CyclesActivity from "./CyclesActivity.ts"
