/**
 * Equivalent names of models, and of the tools that providers run.
 */

/**
 * Whether a name is `key` followed by a date, as in `gpt-4-0613`, `gpt-4o-2024-08-06`, `claude-3-5-haiku@20241022`,
 * `gemini-2.5-flash-preview-05-20`, `command-r-08-2024` and `claude-sonnet-4-20250514-v1:0`.
 *
 * Any other suffix names another model, whose price may differ: a size (`-32k`, `-mini`), a version (`-5`, `-002`), a variant
 * (`-preview`, `-1106-preview`) and an alias whose target changes (`-latest`, `:latest`).
 */
export const isDated = (name: string, key: string): boolean => {
  if (!name.startsWith(key)) return false
  // Bedrock adds a version to the date.
  const match = /^[-@]([\d-]+?)(?:-v\d+(?::\d+)?)?$/.exec(name.slice(key.length))
  const date = match?.[1]
  return date !== undefined && formats.some((format) => isDate(format.exec(date)?.groups))
}

/** A date has a month, and a year or a day. */
const formats: ReadonlyArray<RegExp> = [
  /^(?<year>20\d\d)-(?<month>\d\d)-(?<day>\d\d)$/,
  /^(?<year>20\d\d)(?<month>\d\d)(?<day>\d\d)$/,
  /^(?<year>[2-4]\d)(?<month>\d\d)(?<day>\d\d)$/,
  /^(?<year>20\d\d)-(?<month>\d\d)$/,
  /^(?<month>\d\d)-(?<year>20\d\d)$/,
  /^(?<month>\d\d)-(?<day>\d\d)$/,
  /^(?<month>\d\d)(?<day>\d\d)$/,
  /^(?<year>[2-4]\d)(?<month>\d\d)$/
]

const isDate = (date: { readonly [part: string]: string } | undefined): boolean => {
  if (date === undefined) return false
  const month = Number(date["month"])
  const day = Number(date["day"] ?? "1")
  // A date without a year may be a leap day.
  const year = date["year"] === undefined ? 2024 : Number(date["year"].padStart(4, "20"))
  return month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate()
}

/**
 * The name of a tool that a provider runs, without the provider, the version and the spelling: `anthropic.web_search_20250305`,
 * `web_search_preview`, `OpenAiWebSearch`, `google_search` and `web_search_requests` are `web_search`.
 */
export const toolName = (name: string): string => {
  const snake = name
    .slice(0, 256)
    .replace(/^.*[./]/, "")
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll("-", "_")
    .toLowerCase()
    .replace(/^(?:open_ai|openai|anthropic)_/, "")
    .replace(/_requests$/, "")
    .replace(/(?:_preview)?(?:_\d{4}_?\d{2}_?\d{2})?$/, "")
  return aliases.get(snake) ?? snake
}

const aliases: ReadonlyMap<string, string> = new Map([
  ["google_search", "web_search"],
  ["google_search_retrieval", "web_search"],
  ["code_interpreter", "code_execution"]
])
