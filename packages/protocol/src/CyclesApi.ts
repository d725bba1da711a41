/**
 * The runtime plane as one `HttpApi`, derived from the table of operations. The documentation is drawn from it.
 *
 * @see `Operations`
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
 * The tenant's key.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class TenantKey extends HttpApiMiddleware.Service<TenantKey>()("@effect-cycles/protocol/TenantKey", {
  security: { apiKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.API_KEY }) }
}) {}

/**
 * The tenant's key or the administrator's.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class TenantOrAdminKey extends HttpApiMiddleware.Service<TenantOrAdminKey>()(
  "@effect-cycles/protocol/TenantOrAdminKey",
  {
    security: {
      apiKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.API_KEY }),
      adminKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.ADMIN_KEY })
    }
  }
) {}

// ---------------------------------------------------------------------------------------------------------------------
// groups
// ---------------------------------------------------------------------------------------------------------------------

const refusalsOf = ({ refusals }: Operations.Row) =>
  refusals.map((status) => ErrorResponse.pipe(HttpApiSchema.status(status)))

const command = <const R extends Operations.CommandRow>(row: R) =>
  HttpApiEndpoint.post(row.name, row.path, {
    params: row.params,
    payload: row.request,
    success: row.response.pipe(HttpApiSchema.status(row.status)),
    error: refusalsOf(row)
  }).annotate(OpenApi.Description, row.documentation)

const search = <const R extends Operations.SearchRow>(row: R) =>
  HttpApiEndpoint.get(row.name, row.path, {
    query: row.query,
    success: row.response.pipe(HttpApiSchema.status(row.status)),
    error: refusalsOf(row)
  }).annotate(OpenApi.Description, row.documentation)

const lookup = <const R extends Operations.Row>(row: R) =>
  HttpApiEndpoint.get(row.name, row.path, {
    params: row.params,
    success: row.response.pipe(HttpApiSchema.status(row.status)),
    error: refusalsOf(row)
  }).annotate(OpenApi.Description, row.documentation)

/** The keys that each kind of operation takes. */
const keys = { apiKey: TenantKey, apiKeyOrAdminKey: TenantOrAdminKey }

/** Preflight. */
export const decisions = HttpApiGroup.make("Decisions").add(
  command(Operations.decide).middleware(keys[Operations.decide.auth])
)

/** Reservations and their settlement. */
export const reservations = HttpApiGroup.make("Reservations").add(
  command(Operations.reserve).middleware(keys[Operations.reserve.auth]),
  search(Operations.listReservations).middleware(keys[Operations.listReservations.auth]),
  lookup(Operations.getReservation).middleware(keys[Operations.getReservation.auth]),
  command(Operations.commit).middleware(keys[Operations.commit.auth]),
  command(Operations.release).middleware(keys[Operations.release.auth]),
  command(Operations.extend).middleware(keys[Operations.extend.auth])
)

/** Balances. */
export const balances = HttpApiGroup.make("Balances").add(
  search(Operations.balances).middleware(keys[Operations.balances.auth])
)

/** Direct debits. */
export const events = HttpApiGroup.make("Events").add(command(Operations.event).middleware(keys[Operations.event.auth]))

/** Evidence, public. */
export const evidence = HttpApiGroup.make("Evidence").add(lookup(Operations.getEvidence), lookup(Operations.getJwks))

// ---------------------------------------------------------------------------------------------------------------------
// api
// ---------------------------------------------------------------------------------------------------------------------

/** The runtime plane. */
export class CyclesApi extends HttpApi.make("cycles")
  .add(decisions, reservations, balances, events, evidence)
  .annotateMerge(
    OpenApi.annotations({
      title: "Cycles",
      version: "0.1.25",
      description: "Runtime budget authority: reserve before an act, commit what it cost, release the rest."
    })
  ) {}

/** The OpenAPI document of the runtime plane. */
export const openApi = () => OpenApi.fromApi(CyclesApi)
