/**
 * The flags that `dev` and `serve` share.
 */
import * as Flag from "effect/cli/Flag"
import * as Schema from "effect/Schema"
import { Secret } from "../seedFile.ts"

const Port = Schema.Int.check(
  Schema.isBetween({ minimum: 0, maximum: 65_535 }, { expected: "a port from 0 to 65535" })
).annotate({ expected: "a port from 0 to 65535" })

const port = (name: string) => Flag.Int(name).pipe(Flag.withMetavar("port"), Flag.withSchema(Port))

const Seconds = Schema.Finite.check(
  Schema.isBetween({ minimum: 0, maximum: 86_400 }, { expected: "a number of seconds from 0 to 86400" })
)

const Key = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]+$/, { expected: "printable ASCII without spaces, and not empty" })
)

/** A flag with a secret, which no message repeats. */
export const secret = (name: string) => Flag.String(name).pipe(Flag.withMetavar("key"), Flag.withSchema(Key))

/** The flag of a tenant's key. */
export const apiKey = Flag.String("api-key").pipe(Flag.withMetavar("key"), Flag.withSchema(Secret))

/** The flags of both commands. `isLogging` is the default of the request log. */
export const common = (isLogging: boolean) => ({
  port: port("port").pipe(
    Flag.withDescription("Port of the runtime plane; 0 takes a free one. Default: 7878"),
    Flag.withDefault(7878)
  ),
  host: Flag.String("host").pipe(
    Flag.withMetavar("address"),
    Flag.withDescription("Address to listen on. Default: 127.0.0.1, which other machines can't reach"),
    Flag.withDefault("127.0.0.1")
  ),
  sweepInterval: Flag.Finite("sweep-interval").pipe(
    Flag.withMetavar("seconds"),
    Flag.withDescription(
      "How often expired reservations return their budget; 0 returns it with the next request. Default: 5"
    ),
    Flag.withSchema(Seconds),
    Flag.withDefault(5)
  ),
  page: Flag.Boolean("page").pipe(
    Flag.withDescription("Serve a page with budgets, live reservations and denials at /. Default: on"),
    Flag.withDefault(true)
  ),
  requestLog: Flag.Boolean("request-log").pipe(
    Flag.withDescription(`Print a line for each request. Default: ${isLogging ? "on" : "off"}`),
    Flag.withDefault(isLogging)
  )
})

/** The flag of the admin plane's port. */
export const adminPort = port("admin-port")
