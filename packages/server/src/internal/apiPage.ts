/**
 * The page that describes the runtime plane, rendered by Scalar from the script that `effect` bundles.
 *
 * It loads nothing from other hosts. Scalar adds its styles by script, so that the policy of this page allows inline styles; scripts
 * are allowed by their hashes. This module loads large ones, so it is imported at the first request.
 */
import * as CyclesApi from "@effect-cycles/protocol/CyclesApi"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpApiScalar from "effect/http-api/HttpApiScalar"
import * as Layer from "effect/Layer"
import { createHash } from "node:crypto"

/** A page with its policy. */
export interface ApiPage {
  readonly html: string
  readonly policy: string
}

/** Renders the page. */
export const render = async (): Promise<ApiPage> => {
  const scalar = {
    withDefaultFonts: false,
    hideTestRequestButton: true,
    // These lead to services of other hosts.
    customCss: ".api-reference-toolbar, .open-api-client-button { display: none !important }"
  }
  const { dispose, handler } = HttpRouter.toWebHandler(
    HttpApiScalar.layer(CyclesApi.CyclesApi, { path: "/docs", scalar }).pipe(Layer.provide(HttpServer.layerServices)),
    { disableLogger: true }
  )
  try {
    const html = await (await handler(new Request("http://localhost/docs"))).text()
    return { html, policy: policyOf(html) }
  } finally {
    await dispose()
  }
}

const policyOf = (html: string): string => {
  const scripts = Array.from(html.matchAll(/<script>([^]*?)<\/script>/g), ([, script = ""]) => script)
  const hashes = scripts.map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`)
  return (
    `default-src 'none'; script-src ${hashes.join(" ")}; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; ` +
    "form-action 'none'; frame-ancestors 'none'"
  )
}
