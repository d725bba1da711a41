/**
 * The runtime API as one `HttpApi`, derived from the table of operations: its groups, its security, and its OpenAPI document.
 *
 * **Details**
 *
 * The client and the embedded server use `Operations` directly. `CyclesApi` is for documentation, and for tools that need an
 * `HttpApi`.
 *
 * @see `Operations`
 * @since 0.1.0
 */
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as OpenApi from "effect/http-api/OpenApi"
import { ErrorResponse } from "./ErrorResponse.ts"
import * as Headers from "./Headers.ts"
import * as Operations from "./Operations.ts"

// ---------------------------------------------------------------------------------------------------------------------
// security
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Requires the API key of a tenant, in the header `X-Cycles-API-Key`.
 *
 * @see security scheme `ApiKeyAuth` of the Cycles protocol
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 * @category security
 * @since 0.1.0
 */
export class TenantKey extends HttpApiMiddleware.Service<TenantKey>()("@effect-cycles/protocol/TenantKey", {
  /** The header with the API key. */
  security: { apiKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.API_KEY }) }
}) {}

/**
 * Requires the API key of a tenant, or the administrator's key in the header `X-Admin-API-Key`.
 *
 * @see security schemes `ApiKeyAuth` and `AdminKeyAuth` of the Cycles protocol
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 * @category security
 * @since 0.1.0
 */
export class TenantOrAdminKey extends HttpApiMiddleware.Service<TenantOrAdminKey>()(
  "@effect-cycles/protocol/TenantOrAdminKey",
  {
    /** The headers with the two keys, of which one is enough. */
    security: {
      apiKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.API_KEY }),
      adminKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.ADMIN_KEY })
    }
  }
) {}

// ---------------------------------------------------------------------------------------------------------------------
// groups
// ---------------------------------------------------------------------------------------------------------------------

const responsesOf = <const R extends Operations.Row>(row: R) => ({
  success: row.response.pipe(HttpApiSchema.status(row.status)),
  error: row.refusals.map((status) => ErrorResponse.pipe(HttpApiSchema.status(status)))
})

/** The summary of an operation, and its description, which is a sentence. */
const textOf = ({ documentation }: Operations.Row) =>
  OpenApi.annotations({ summary: documentation.replace(/\.$/, ""), description: documentation })

const command = <const R extends Operations.CommandRow>(row: R) =>
  HttpApiEndpoint.post(row.name, row.path, {
    params: row.params,
    payload: row.request,
    ...responsesOf(row)
  }).annotateMerge(textOf(row))

const search = <const R extends Operations.SearchRow>(row: R) =>
  HttpApiEndpoint.get(row.name, row.path, {
    query: row.query,
    ...responsesOf(row)
  }).annotateMerge(textOf(row))

const lookup = <const R extends Operations.Row>(row: R) =>
  HttpApiEndpoint.get(row.name, row.path, {
    params: row.params,
    ...responsesOf(row)
  }).annotateMerge(textOf(row))

/** The security middleware of each kind of authentication. */
const keys = { apiKey: TenantKey, apiKeyOrAdminKey: TenantOrAdminKey }

/**
 * The group of `decide`.
 *
 * @category groups
 * @since 0.1.0
 */
export const decisions = HttpApiGroup.make("Decisions").add(
  command(Operations.decide).middleware(keys[Operations.decide.auth])
)

/**
 * The group of the reservation operations: reserve, list, get, commit, release and extend.
 *
 * @category groups
 * @since 0.1.0
 */
export const reservations = HttpApiGroup.make("Reservations").add(
  command(Operations.reserve).middleware(keys[Operations.reserve.auth]),
  search(Operations.listReservations).middleware(keys[Operations.listReservations.auth]),
  lookup(Operations.getReservation).middleware(keys[Operations.getReservation.auth]),
  command(Operations.commit).middleware(keys[Operations.commit.auth]),
  command(Operations.release).middleware(keys[Operations.release.auth]),
  command(Operations.extend).middleware(keys[Operations.extend.auth])
)

/**
 * The group of `balances`.
 *
 * @category groups
 * @since 0.1.0
 */
export const balances = HttpApiGroup.make("Balances").add(
  search(Operations.balances).middleware(keys[Operations.balances.auth])
)

/**
 * The group of `event`.
 *
 * @category groups
 * @since 0.1.0
 */
export const events = HttpApiGroup.make("Events").add(command(Operations.event).middleware(keys[Operations.event.auth]))

/**
 * The group of the evidence operations, which need no key.
 *
 * @category groups
 * @since 0.1.0
 */
export const evidence = HttpApiGroup.make("Evidence").add(lookup(Operations.getEvidence), lookup(Operations.getJwks))

// ---------------------------------------------------------------------------------------------------------------------
// api
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The runtime API.
 *
 * @example
 * ```ts
 * import { CyclesApi } from "@effect-cycles/protocol"
 *
 * console.log(Object.keys(CyclesApi.CyclesApi.groups))
 * // [ "Decisions", "Reservations", "Balances", "Events", "Evidence" ]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class CyclesApi extends HttpApi.make("cycles")
  .add(decisions, reservations, balances, events, evidence)
  .annotateMerge(
    OpenApi.annotations({
      title: "Cycles",
      version: "0.1.25",
      description: "Runtime budget authority: reserve before a call, commit its cost, release the rest."
    })
  ) {}

/**
 * Generates the OpenAPI document of the runtime API.
 *
 * @category constructors
 * @since 0.1.0
 */
export const openApi = () => OpenApi.fromApi(CyclesApi)
