/**
 * Hard budgets for `effect/ai`: one Layer guards every model call.
 *
 * Start with `CyclesModel`. `GenaiPrices` and `GptTokenizer` need an optional peer dependency each and have their own entry
 * points.
 *
 * @since 0.1.0
 */
export * as AiTelemetry from "./AiTelemetry.ts"
export * as CyclesAiError from "./CyclesAiError.ts"
export * as CyclesEmbedding from "./CyclesEmbedding.ts"
export * as CyclesMcp from "./CyclesMcp.ts"
export * as CyclesModel from "./CyclesModel.ts"
export * as CyclesToolkit from "./CyclesToolkit.ts"
export * as Estimator from "./Estimator.ts"
export * as OutputLimit from "./OutputLimit.ts"
export * as Pricing from "./Pricing.ts"
export * as Usage from "./Usage.ts"
