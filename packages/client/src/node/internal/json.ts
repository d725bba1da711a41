/** Parses JSON that may be invalid. */
import * as Json from "@effect-cycles/protocol/Json"

/** The value of a JSON text, with all digits of integers; undefined if the text isn't JSON. */
export const parse = (text: string): unknown => {
  try {
    return Json.parse(text)
  } catch {
    return undefined
  }
}
