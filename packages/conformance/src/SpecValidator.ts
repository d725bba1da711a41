/**
 * Validates requests and responses against the OpenAPI file of the protocol.
 *
 * A JSON-schema validator can't check 64-bit integers, so their digits are checked in the text. Known differences between the
 * reference server and the file are named exceptions with a reason.
 */
import type { ErrorObject } from "ajv"
import Ajv2020 from "ajv/dist/2020.js"
import addFormats from "ajv-formats"
import { readFileSync } from "node:fs"
import { parse } from "yaml"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A request and its response, as text. */
export interface Exchange {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly request: string
  readonly status: number
  readonly response: string
}

/** A violation of the OpenAPI file. */
export interface Problem {
  readonly where: string
  readonly what: string
}

/** Differences between the OpenAPI file and the reference server, which the embedded server follows. */
export const exceptions = {
  nulls:
    "rows that are read have null for absent subject fields, dimensions, tags and next_cursor (215 of 943 recorded responses)",
  statuses: "405, 413, 415 and 429 are not declared for every operation"
} as const

/** The name of an exception. */
export type Exception = keyof typeof exceptions

/** Checks exchanges against the OpenAPI file. */
export interface SpecValidator {
  /** Returns the violations of an exchange, and the exceptions that apply to it. */
  readonly check: (exchange: Exchange) => {
    readonly problems: ReadonlyArray<Problem>
    readonly used: ReadonlyArray<Exception>
  }
  /** Every operation of the file, as `POST /v1/decide`. */
  readonly operations: ReadonlyArray<string>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

interface Operation {
  readonly requestBody?: unknown
  readonly responses: Readonly<Record<string, unknown>>
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

/** Reads the file. */
export const make = (filename: string): SpecValidator => {
  const document: Document = parse(readFileSync(filename, "utf8"))
  const ajv = new Ajv2020.default({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addSchema(document, "spec")

  const paths = Object.keys(document.paths).map((template) => ({
    template,
    pattern: new RegExp(`^${template.replace(/\{[^}]+\}/g, "[^/]+").replaceAll(".", "\\.")}$`)
  }))

  const validate = (pointer: string, value: unknown): ReadonlyArray<ErrorObject> => {
    const check = ajv.getSchema(`spec#${pointer}`) ?? ajv.compile({ $ref: `spec#${pointer}` })
    return check(value) === true ? [] : (check.errors ?? [])
  }

  return {
    operations: Object.entries(document.paths).flatMap(([template, methods]) =>
      Object.keys(methods)
        .filter((method) => ["get", "post"].includes(method))
        .map((method) => `${method.toUpperCase()} ${template}`)
    ),
    check: ({ response, method, request, status, url }) => {
      const problems: Array<Problem> = []
      const used = new Set<Exception>()
      const path = url.split("?")[0] ?? ""
      const template = paths.find((candidate) => candidate.pattern.test(path))?.template
      const operation = template === undefined ? undefined : document.paths[template]?.[method.toLowerCase()]
      if (template === undefined || operation === undefined) return { problems: [], used: [] }
      const base = `/paths/${escape(template)}/${method.toLowerCase()}`
      if (request !== "" && status < 400) {
        for (const error of validate(`${base}/requestBody/content/application~1json/schema`, JSON.parse(request))) {
          problems.push({ where: `${method} ${template} request`, what: describe(error) })
        }
        problems.push(...digits(`${method} ${template} request`, request))
      }
      if (operation.responses[String(status)] === undefined) {
        if ([405, 413, 415, 429].includes(status)) used.add("statuses")
        else problems.push({ where: `${method} ${template}`, what: `the status ${status} is not declared` })
        return { problems, used: Array.from(used) }
      }
      if (response === "") return { problems, used: Array.from(used) }
      const value: unknown = JSON.parse(response)
      const pointer = isReference(operation.responses[String(status)])
        ? "/components/responses/ErrorResponse/content/application~1json/schema"
        : `${base}/responses/${status}/content/application~1json/schema`
      for (const error of validate(pointer, value)) {
        if (isExpectedNull(error, value)) used.add("nulls")
        else problems.push({ where: `${method} ${template} ${status}`, what: describe(error) })
      }
      problems.push(...digits(`${method} ${template} ${status}`, response))
      return { problems, used: Array.from(used) }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const escape = (text: string): string => encodeURIComponent(text.replaceAll("~", "~0").replaceAll("/", "~1"))

const isReference = (value: unknown): boolean => typeof value === "object" && value !== null && "$ref" in value

const describe = (error: ErrorObject): string =>
  `${error.instancePath} ${error.message ?? ""} ${JSON.stringify(error.params)}`

const nullable = /\/(tenant|workspace|app|workflow|agent|toolset|dimensions|tags|next_cursor)$/

const isExpectedNull = (error: ErrorObject, root: unknown): boolean =>
  nullable.test(error.instancePath) && error.keyword === "type" && at(root, error.instancePath) === null

const at = (root: unknown, pointer: string): unknown => {
  let value = root
  for (const key of pointer.split("/").slice(1)) {
    if (typeof value !== "object" || value === null) return undefined
    value = Reflect.get(value, key)
  }
  return value
}

/** Checks that amounts are plain digits in the range of 64 bits. */
const digits = (where: string, text: string): ReadonlyArray<Problem> =>
  Array.from(text.matchAll(/"amount":([^,}\s]+)/g)).flatMap(([, number = ""]) =>
    /^-?\d+$/.test(number) && BigInt.asIntN(64, BigInt(number)) === BigInt(number)
      ? []
      : [{ where, what: `amount ${number} isn't an integer of 64 bits` }]
  )
