/**
 * The usage of a model's calls compared with their estimates: a line `offset + slope * text` that is an upper bound of
 * the last calls, a ratio for each class of attachments, and a ratio for the output.
 *
 * Most estimates that are too low lack a constant number of tokens, such as a hidden prompt. They raise the offset,
 * which doesn't grow with the text.
 */

/** Estimated tokens of the attachments of a request, by class. */
export type Attachments = Readonly<Record<string, number>>

/** The estimate of one request before any correction. */
export interface Measured {
  /** Tokens of everything but attachments. */
  readonly text: number
  readonly attachments: Attachments
}

/** The corrections of one model. */
export interface Line {
  /** The corrected input tokens of a request, not rounded. */
  readonly reserve: (measured: Measured) => number
  /** Learns from the input tokens that the provider reported. */
  readonly learn: (measured: Measured, truth: number) => void
  /** The factor of estimated output tokens, from 1 to 2. */
  readonly output: () => number
  /** Learns from the output tokens that the provider reported for a text with this estimate. */
  readonly learnOutput: (estimated: number, truth: number) => void
}

/** Input tokens of each request in addition to its messages. */
const frame = 8

/** The number of calls that the line is an upper bound of. */
const ringSize = 32

/** The number of calls from which the most extreme ones are dropped. */
const trusted = 8

/**
 * After four calls of at least this size whose estimates are too low by this factor, the model has another vocabulary.
 */
const large = 2_000
const tooLow = 1.05

interface Ratio {
  value: number
  calls: number
}

/**
 * Makes the corrections of a model, initially none. `cap` is the largest slope until the estimates of large calls are
 * too low.
 */
export const make = (cap: number): Line => {
  const ring: Array<readonly [text: number, truth: number]> = []
  const ratios = new Map<string, Ratio>()
  const outputs: Array<number> = []
  let offset = 0
  let slope = 1
  let largest = cap
  let lowCalls = 0

  const attached = (attachments: Attachments): number => {
    let tokens = 0
    for (const [name, rule] of Object.entries(attachments)) tokens += rule * (ratios.get(name)?.value ?? 1)
    return tokens
  }

  const learnText = (text: number, truth: number): void => {
    // At the largest slope, every estimate that is too low is a sign that the slope should be larger.
    const least = (slope >= largest ? 1 : tooLow) * (Math.max(offset, frame) + slope * text)
    if (text >= large && truth > least && ++lowCalls >= 4) largest = Math.max(largest, 2)
    if (ring.push([text, truth]) > ringSize) ring.shift()
    const fitted = fit(ring, largest)
    offset = fitted.offset
    slope = fitted.slope
  }

  const learnAttachment = (name: string, rule: number, truth: number): void => {
    const ratio = ratios.get(name) ?? { value: 1, calls: 0 }
    ratios.set(name, ratio)
    ratio.calls += 1
    const seen = Math.min(4, Math.max(0.1, truth / rule)) * 1.1
    if (seen > ratio.value) ratio.value = seen
    else if (ratio.calls > trusted) ratio.value += 0.1 * (Math.max(seen, 0.25) - ratio.value)
  }

  return {
    reserve: ({ attachments, text }) => Math.max(offset, frame) + slope * text + attached(attachments),
    learn: ({ attachments, text }, truth) => {
      const classes = Object.entries(attachments).filter(([, rule]) => rule > 0)
      const rules = classes.reduce((sum, [, rule]) => sum + rule, 0)
      if (rules <= 0.3 * (text + rules)) return learnText(text, truth - attached(attachments))
      const [first] = classes
      if (first !== undefined && classes.length === 1) learnAttachment(...first, truth - (offset + slope * text))
    },
    output: () => {
      const [, second = 0] = outputs.toSorted((a, b) => b - a)
      return Math.min(2, Math.max(1, second * 1.05))
    },
    learnOutput: (estimated, truth) => {
      if (truth >= 200 && outputs.push(truth / estimated) > 16) outputs.shift()
    }
  }
}

/** The line above all calls but the dropped ones that is lowest at their mean. The order of the calls doesn't matter. */
const fit = (
  calls: ReadonlyArray<readonly [text: number, truth: number]>,
  cap: number
): { readonly offset: number; readonly slope: number } => {
  const drop = calls.length < trusted ? 0 : 1 + Math.floor(calls.length / 16)
  const mean = calls.reduce((sum, [text]) => sum + text, 0) / calls.length
  let best = { offset: 0, slope: 1, height: Infinity }
  const steps = Math.round((cap - 1) / 0.02)
  for (let step = 0; step <= steps; step++) {
    const slope = 1 + step * 0.02
    const residuals = calls.map(([text, truth]) => truth - slope * text).toSorted((a, b) => b - a)
    const offset = Math.max(0, residuals[drop] ?? 0)
    const height = offset + slope * mean
    if (height < best.height) best = { offset, slope, height }
  }
  return {
    offset: Math.ceil(1.05 * best.offset),
    slope: best.slope > 1 ? Math.min(cap, best.slope + 0.02) : 1
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The number of models whose corrections are kept. A model with provider tools counts separately. */
const maxLines = 256

/** Keeps the corrections of the models that were used last. Calls with tools that the provider runs have separate ones. */
export const makeLines = (capOf: (model: string) => number): ((model: string, hasProviderTools: boolean) => Line) => {
  const lines = new Map<string, Line>()
  return (model, hasProviderTools) => {
    const key = `${hasProviderTools ? "with" : "without"} provider tools: ${model}`
    const line = lines.get(key) ?? make(capOf(model))
    lines.delete(key)
    lines.set(key, line)
    const [oldest] = lines.keys()
    if (lines.size > maxLines && oldest !== undefined) lines.delete(oldest)
    return line
  }
}
