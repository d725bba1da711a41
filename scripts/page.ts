/**
 * `pnpm test:page [--screenshots FOLDER]`: tests the page of the server in Chromium, with the packed packages in a
 * folder outside the workspace. Without Chromium it is skipped; `CHROMIUM` is the path of another one.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import type { Dev } from "./dev.ts"
import { startDev } from "./dev.ts"
import { build, dependenciesOf, npmInstall, packAll, run, versionOf } from "./pack.ts"

const { screenshots } = parseArgs({ options: { screenshots: { type: "string" } } }).values

// ---------------------------------------------------------------------------------------------------------------------
// the browser, as far as the tests use it
// ---------------------------------------------------------------------------------------------------------------------

interface Locator {
  readonly textContent: () => Promise<string | null>
  readonly count: () => Promise<number>
  readonly isVisible: () => Promise<boolean>
  readonly getAttribute: (name: string) => Promise<string | null>
  readonly waitFor: () => Promise<void>
  readonly first: () => Locator
}

interface Page {
  readonly goto: (url: string) => Promise<unknown>
  readonly locator: (selector: string) => Locator
  readonly getByText: (text: string | RegExp, options?: { readonly exact?: boolean }) => Locator
  readonly evaluate: (expression: string) => Promise<unknown>
  readonly screenshot: (options: { readonly path: string; readonly fullPage: boolean }) => Promise<unknown>
  readonly keyboard: {
    readonly press: (key: string) => Promise<void>
    readonly type: (text: string) => Promise<void>
  }
  readonly on: (event: string, listener: (value: Message) => void) => void
  readonly close: () => Promise<void>
}

/** A console message, an error of a page, or a request. */
interface Message {
  readonly type?: () => string
  readonly text?: () => string
  readonly url?: () => string
  readonly message?: string
}

interface Browser {
  readonly newPage: (options: { readonly colorScheme: "light" | "dark"; readonly viewport: object }) => Promise<Page>
  readonly close: () => Promise<void>
}

interface Playwright {
  readonly chromium: {
    readonly launch: (options: {
      readonly executablePath: string
      readonly args: ReadonlyArray<string>
    }) => Promise<Browser>
  }
}

const findChromium = (): string | undefined => {
  const candidates = [
    process.env["CHROMIUM"],
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome"
  ]
  return candidates.find((path) => path !== undefined && existsSync(path))
}

// ---------------------------------------------------------------------------------------------------------------------
// checks
// ---------------------------------------------------------------------------------------------------------------------

const equal = (what: string, actual: unknown, expected: unknown): void => {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return
  throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
}

let failed = 0

const check = async (name: string, body: () => Promise<void>): Promise<void> => {
  const startedAt = Date.now()
  try {
    await body()
    console.log(`ok   ${name} (${Date.now() - startedAt} ms)`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}\n${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Waits until an expression is true. Playwright's own function needs `eval`, which the page forbids. */
const until = async (page: Page, expression: string): Promise<void> => {
  for (let tries = 0; tries < 150; tries++) {
    if ((await page.evaluate(expression)) === true) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`still false after 15 seconds: ${expression}`)
}

/** The contrast of the text of an element to the first opaque background behind it. */
const contrastOf = (selector: string): string => `(() => {
  const rgb = (text) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d")
    context.fillStyle = text
    context.fillRect(0, 0, 1, 1)
    return Array.from(context.getImageData(0, 0, 1, 1).data)
  }
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const node = document.querySelector(${JSON.stringify(selector)})
  let behind = node
  while (behind.parentElement !== null && rgb(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement
  const [a, b] = [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor].map((text) => luminance(rgb(text)))
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
})()`

// ---------------------------------------------------------------------------------------------------------------------
// the server
// ---------------------------------------------------------------------------------------------------------------------

const [adminKey, apiKey] = ["page-admin-key", "cyc_test_page-tenant-key"]

/** Starts the installed program on a port. */
const serve = async (folder: string, port: string) => {
  const program = join(folder, "node_modules/.bin/cycles-server")
  const keyFlags = ["--admin-key", adminKey, "--api-key", apiKey]
  const dev = await startDev(program, ["--port", port, "--admin-port", "0", ...keyFlags])
  running.add(dev)
  const { printed, stop } = dev
  const url = /^runtime plane +(\S+)$/m.exec(printed)?.[1] ?? ""
  const adminUrl = /^admin plane +(\S+) /m.exec(printed)?.[1] ?? ""
  const post = async (path: string, body: object): Promise<Readonly<Record<string, unknown>>> => {
    const response = await fetch((path.startsWith("/v1/admin") ? adminUrl : url) + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-cycles-api-key": apiKey, "x-admin-api-key": adminKey },
      body: JSON.stringify(body)
    })
    return Object(await response.json())
  }
  return { url, post, stop }
}

type Served = Awaited<ReturnType<typeof serve>>

/** The processes to end if a test throws. */
const running = new Set<Dev>()

let keys = 0

const reserveBody = (
  amount: number,
  more?: { readonly agent?: string; readonly name?: string; readonly unit?: string }
) => ({
  idempotency_key: `page-${++keys}`,
  subject: { tenant: "acme", agent: more?.agent ?? "planner" },
  action: { kind: "llm.completion", name: more?.name ?? "openai:gpt-5" },
  estimate: { unit: more?.unit ?? "TOKENS", amount },
  ttl_ms: 90_000
})

const script = '<img src=x onerror="document.title=1">'

/** Budgets in every state. */
const fill = async ({ post }: Served): Promise<void> => {
  const budget = (scope: string, unit: string, amount: number, overdraft?: number) =>
    post("/v1/admin/budgets", {
      tenant_id: "acme",
      scope: `tenant:acme/${scope}`,
      unit,
      allocated: { unit, amount },
      ...(overdraft === undefined ? undefined : { overdraft_limit: { unit, amount: overdraft } }),
      commit_overage_policy: "ALLOW_WITH_OVERDRAFT"
    })
  await budget("agent:planner", "TOKENS", 100_000)
  await budget("agent:indebted", "TOKENS", 1_000, 5_000)
  await budget("workspace:research-and-development/app:assistant/agent:summarizer-of-long-documents", "TOKENS", 50_000)
  await budget("agent:frozen", "TOKENS", 2_000)
  await post("/v1/admin/budgets/freeze?scope=tenant:acme/agent:frozen&unit=TOKENS", {})
  for (const [agent, unit, amount] of [
    ["planner", "TOKENS", 31_250],
    ["indebted", "TOKENS", 2_500],
    ["x", "USD_MICROCENTS", 412_345_600]
  ] as const) {
    await post("/v1/events", {
      idempotency_key: `page-${++keys}`,
      subject: { tenant: "acme", agent },
      action: { kind: "llm.completion", name: "m" },
      actual: { unit, amount },
      overage_policy: "ALLOW_WITH_OVERDRAFT"
    })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// tests
// ---------------------------------------------------------------------------------------------------------------------

const test = async (browser: Browser, folder: string): Promise<void> => {
  let server = await serve(folder, "0")
  const { port } = new URL(server.url)
  const problems: Array<string> = []
  const urls = new Set<string>()
  const open = async (url: string, colorScheme: "light" | "dark"): Promise<Page> => {
    const page = await browser.newPage({ colorScheme, viewport: { width: 1_100, height: 900 } })
    page.on("console", (message) => {
      if (message.type?.() === "error") problems.push(message.text?.() ?? "")
    })
    page.on("pageerror", (error) => problems.push(error.message ?? String(error)))
    page.on("request", (request) => urls.add(new URL(request.url?.() ?? "").origin))
    await page.goto(url)
    return page
  }
  const shoot = async (page: Page, name: string): Promise<void> => {
    if (screenshots !== undefined) await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
  }
  const textOf = (page: Page, selector: string) =>
    page.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`)
  const focused = (page: Page) =>
    page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)")

  const page = await open(server.url, "light")
  await check("shows the budgets on the machine of the server without a key", async () => {
    await page.locator("#budget-list li:first-child").waitFor()
    equal("the state", await page.locator("#connection").textContent(), "Live")
    equal("budgets", await page.locator("#budget-list li").count(), 2)
    equal("the form", await page.locator("#login").isVisible(), false)
    equal("dollars", /remaining\s+\$10\.00/.test(String(await textOf(page, "#budget-list"))), true)
    equal("no reservations", await page.locator("#no-reservations").isVisible(), true)
  })
  await check(
    "shows changes without a reload: amounts, a live reservation with its time left, and a denial with its reason",
    async () => {
      await fill(server)
      const { reservation_id: id } = await server.post("/v1/reservations", reserveBody(20_000))
      await server.post("/v1/reservations", reserveBody(3_000_000_000))
      const { ttl_ms: _, ...decideBody } = reserveBody(2_500, { agent: "frozen" })
      await server.post("/v1/decide", decideBody)
      await until(page, "document.querySelectorAll('#denial-rows tr').length === 2")
      const row = String(await textOf(page, "#reservation-rows"))
      equal("the reservation", /planner\s+llm\.completion openai:gpt-5\s+20,000 tokens\s+1 min \d+ s/.test(row), true)
      const denials = String(await textOf(page, "#denial-rows"))
      equal("the denials", /BUDGET_FROZEN[^]*3,000,000,000 tokens\s+BUDGET_EXCEEDED/.test(denials), true)
      await until(page, `document.querySelector("#reservation-rows").innerText !== ${JSON.stringify(row)}`)
      await server.post(`/v1/reservations/${id}/commit`, {
        idempotency_key: "c",
        actual: { unit: "TOKENS", amount: 12_000 }
      })
      await page.locator("#no-reservations").waitFor()
      equal("the bar", (await page.locator(".bar").count()) > 4, true)
    }
  )
  await check("shows names as text", async () => {
    await server.post("/v1/reservations", reserveBody(7_000, { name: script }))
    await page.getByText(script).waitFor()
    equal("the images", await page.evaluate("document.images.length"), 0)
    equal("the title", await page.evaluate("document.title"), "Cycles server")
  })
  const dark = await open(server.url, "dark")
  await dark.locator("#budget-list li:first-child").waitFor()
  await check("works by keyboard: skip link, pause, and links", async () => {
    await page.evaluate("document.activeElement.blur()")
    const order: Array<unknown> = []
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press("Tab")
      order.push(await focused(page))
      if (order.at(-1) === "pause") await page.keyboard.press("Space")
    }
    equal("the order", order.slice(0, 3), ["Skip to budgets", "pause", "API"])
    equal("paused", await page.locator("#pause").getAttribute("aria-pressed"), "true")
    const before = await page.locator("#budget-list").textContent()
    // When the other page shows the second change, this one has received the first one.
    for (const amount of ["11,000", "12,000"]) {
      const body = reserveBody(Number(amount.replace(",", "")), { agent: "summarizer-of-long-documents" })
      await server.post("/v1/reservations", body)
      await until(dark, `document.querySelector("#reservation-rows").innerText.includes("${amount} tokens")`)
    }
    equal("the budgets while paused", await page.locator("#budget-list").textContent(), before)
    await page.evaluate("document.querySelector('#pause').focus()")
    await page.keyboard.press("Enter")
    await until(page, `document.querySelector("#budget-list").textContent !== ${JSON.stringify(before)}`)
  })
  for (const [name, themed] of [
    ["light", page],
    ["dark", dark]
  ] as const) {
    await check(`has readable colours in the ${name} theme, and no horizontal scrolling`, async () => {
      for (const selector of [
        "h1",
        "#store",
        "#budget-list .unit",
        "#budget-list dt",
        ".state",
        "th",
        "td .code",
        "td .detail",
        "nav a"
      ]) {
        const contrast = Number(await themed.evaluate(contrastOf(selector)))
        if (!(contrast >= 4.5)) throw new Error(`the contrast of ${selector} is ${contrast.toFixed(2)}, below 4.5`)
      }
      equal("the width", await themed.evaluate("document.documentElement.scrollWidth <= innerWidth"), true)
      await shoot(themed, `page-${name}`)
    })
  }
  await check("fits a narrow screen", async () => {
    const narrow = await browser.newPage({ colorScheme: "light", viewport: { width: 360, height: 800 } })
    await narrow.goto(server.url)
    await narrow.locator("#budget-list li:first-child").waitFor()
    equal("the width", await narrow.evaluate("document.documentElement.scrollWidth <= innerWidth"), true)
    await shoot(narrow, "page-narrow")
    await narrow.close()
  })
  await check("describes the API without other hosts", async () => {
    const docs = await open(`${server.url}/docs`, "light")
    await docs.getByText("Returns the decision that a reserve would get", { exact: false }).first().waitFor()
    equal("links to services", await docs.locator(".api-reference-toolbar").isVisible(), false)
    await shoot(docs, "docs-light")
    await docs.close()
  })
  await check("connects again after a restart of the server", async () => {
    await server.stop()
    await until(page, "document.querySelector('#connection').dataset.state === 'lost'")
    await page.evaluate("document.querySelector('#pause').click()")
    await page.evaluate("document.querySelector('#pause').click()")
    equal("the state", await page.locator("#connection").textContent(), "Disconnected, trying again")
    server = await serve(folder, port)
    await until(page, "document.querySelector('#connection').dataset.state === 'live'")
    await until(page, "document.querySelectorAll('#budget-list li').length === 2")
  })
  // Chromium reports lost connections and refused keys as errors.
  const unexpected = problems.filter((text) => !/net::ERR_|Failed to load resource/.test(text))
  await check("loads nothing from other hosts, and violates no policy", async () => {
    equal("the hosts", Array.from(urls), [new URL(server.url).origin])
    equal("the errors", unexpected, [])
  })
  for (const theme of ["light", "dark"] as const) {
    await check(`requires the admin key under another host, by keyboard, in the ${theme} theme`, async () => {
      const remote = await open(`http://cycles.test:${port}/`, theme)
      await remote.locator("#login").waitFor()
      equal("the focus", await focused(remote), "key")
      await remote.keyboard.type("wrong")
      await remote.keyboard.press("Enter")
      await remote.getByText("The server refused this key").waitFor()
      equal("the ledger", await remote.locator("#ledger").isVisible(), false)
      await shoot(remote, `login-${theme}`)
      await remote.keyboard.type(adminKey)
      await remote.keyboard.press("Enter")
      await remote.locator("#budget-list li:first-child").waitFor()
      equal(
        "where the key is stored",
        await remote.evaluate(
          "[location.href, document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.querySelector('#key').value]"
        ),
        [`http://cycles.test:${port}/`, "", "{}", "{}", ""]
      )
      await remote.close()
    })
  }
  await server.stop()
}

// ---------------------------------------------------------------------------------------------------------------------
// main
// ---------------------------------------------------------------------------------------------------------------------

const executablePath = findChromium()
if (executablePath === undefined) {
  console.log("skip page: there is no Chromium; on Debian, `apt-get install chromium` installs it")
} else {
  const folder = mkdtempSync(join(tmpdir(), "effect-cycles-page-"))
  try {
    if (screenshots !== undefined) mkdirSync(screenshots, { recursive: true })
    build()
    const { protocol = "", server = "" } = packAll(folder)
    const manifest = {
      private: true,
      type: "module",
      dependencies: {
        ...dependenciesOf({ protocol, server }),
        effect: versionOf("effect"),
        "playwright-core": "^1.50.0"
      }
    }
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest))
    run("npm", npmInstall, folder)
    const playwright: Playwright = await import(
      pathToFileURL(resolve(folder, "node_modules/playwright-core/index.mjs")).href
    )
    const browser = await playwright.chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--host-resolver-rules=MAP cycles.test 127.0.0.1"]
    })
    try {
      await test(browser, folder)
    } finally {
      for (const { kill } of running) kill()
      await browser.close()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  if (failed > 0) process.exitCode = 1
}
