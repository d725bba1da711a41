/**
 * The page of a server: its budgets, live reservations and latest denials, updated by server-sent events.
 *
 * The events are read by `fetch`, since an `EventSource` can't send the admin key. The key is only in memory. Names come from
 * users, so that every text is set as `textContent`.
 */

// ---------------------------------------------------------------------------------------------------------------------
// elements
// ---------------------------------------------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id)

const element = (tag, className, ...children) => {
  const node = document.createElement(tag)
  if (className !== "") node.className = className
  node.append(...children)
  return node
}

/** Sets a text only if it changes, so that screen readers don't repeat a status. */
const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text
}

// ---------------------------------------------------------------------------------------------------------------------
// amounts and times
// ---------------------------------------------------------------------------------------------------------------------

const microcentsPerDollar = 100_000_000n

/** Amounts are decimal texts, since a number can't hold 64 bits. */
const format = (unit, amount) => {
  const value = BigInt(amount)
  if (unit !== "USD_MICROCENTS") return value.toLocaleString("en-US")
  const absolute = value < 0n ? -value : value
  const cents = (absolute % microcentsPerDollar)
    .toString()
    .padStart(8, "0")
    .replace(/0{1,6}$/, "")
  return `${value < 0n ? "-" : ""}$${(absolute / microcentsPerDollar).toLocaleString("en-US")}.${cents}`
}

/** A scope that may be broken after each level. */
const scopeOf = (scope) => {
  const node = element("span", "")
  scope.split("/").forEach((level, i, levels) => {
    node.append(i < levels.length - 1 ? `${level}/` : level, document.createElement("wbr"))
  })
  return node
}

/** A unit as people call it. */
const unitName = (unit) => (unit === "USD_MICROCENTS" ? "dollars" : unit.toLowerCase().replaceAll("_", " "))

const duration = (ms) => {
  const seconds = Math.ceil(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`
}

// ---------------------------------------------------------------------------------------------------------------------
// rendering
// ---------------------------------------------------------------------------------------------------------------------

const share = (part, total) => (total === 0n ? 0 : Number((part * 10_000n) / total) / 100)

const barOf = ({ debt, remaining, reserved, spent, unit }) => {
  const [left, parts] = [BigInt(remaining), { spent: BigInt(spent), reserved: BigInt(reserved), debt: BigInt(debt) }]
  const total = parts.spent + parts.reserved + parts.debt + (left > 0n ? left : 0n)
  const bar = element("div", "bar")
  bar.setAttribute("role", "img")
  bar.setAttribute(
    "aria-label",
    `${format(unit, spent)} spent, ${format(unit, reserved)} reserved, ${format(unit, debt)} debt, ${format(unit, remaining)} remaining`
  )
  for (const [name, amount] of Object.entries(parts)) {
    if (amount <= 0n) continue
    const part = element("span", name)
    part.style.width = `${Math.max(0.5, share(amount, total))}%`
    bar.append(part)
  }
  return bar
}

const budgetOf = (budget) => {
  const { allocated, debt, isOverLimit, overdraftLimit, remaining, reserved, scope, spent, status, unit } = budget
  const title = element("h3", "", scopeOf(scope), element("span", "unit", unitName(unit)))
  if (status !== "ACTIVE") title.append(element("span", "state", status.toLowerCase()))
  if (isOverLimit) title.append(element("span", "state", "over limit"))
  const amounts = element("dl", "")
  const add = (name, amount) => {
    const value = element("dd", BigInt(amount) < 0n ? "negative" : "", format(unit, amount))
    amounts.append(element("div", "", element("dt", "", name), value))
  }
  add("allocated", allocated)
  add("spent", spent)
  add("reserved", reserved)
  add("remaining", remaining)
  if (debt !== "0" || overdraftLimit !== "0") add("debt", debt)
  if (overdraftLimit !== "0") add("overdraft limit", overdraftLimit)
  return element("li", "", title, barOf(budget), amounts)
}

const reservationOf = ({ action, amount, expiresAtMs, scope, unit }) => {
  const left = element("td", "number left")
  left.dataset.expiresAtMs = expiresAtMs
  return element(
    "tr",
    "",
    element("td", "", scopeOf(scope)),
    element("td", "", action),
    element("td", "number", `${format(unit, amount)} ${unitName(unit)}`),
    left
  )
}

const denialOf = ({ action, amount, atMs, code, message, scope, unit }) => {
  const reason = element("td", "", element("span", "code", code))
  if (message !== "") reason.append(" ", element("span", "detail", message))
  return element(
    "tr",
    "",
    element("td", "time", new Date(atMs).toLocaleTimeString()),
    element("td", "", scopeOf(scope)),
    element("td", "", action),
    element("td", "number", `${format(unit, amount)} ${unitName(unit)}`),
    reason
  )
}

/** Shows rows in a table, or its text for none. */
const renderRows = (name, rows) => {
  const body = byId(`${name}-rows`)
  body.replaceChildren(...rows)
  body.closest(".scroll").hidden = rows.length === 0
  byId(`no-${name}s`).hidden = rows.length > 0
}

const renderMore = (name, shown, total) => {
  const more = byId(`more-${name}`)
  more.hidden = total <= shown
  setText(more, `${(total - shown).toLocaleString("en-US")} more are not shown.`)
}

/** The clock of the server minus that of the browser, in milliseconds. */
let clockOffsetMs = 0

const renderTimeLeft = () => {
  for (const cell of document.querySelectorAll(".left")) {
    const ms = Number(cell.dataset.expiresAtMs) - (Date.now() + clockOffsetMs)
    setText(cell, ms > 0 ? duration(ms) : "expired")
  }
}

const render = (snapshot) => {
  clockOffsetMs = snapshot.nowMs - Date.now()
  setText(byId("store"), snapshot.store)
  byId("budget-list").replaceChildren(...snapshot.budgets.map(budgetOf))
  byId("no-budgets").hidden = snapshot.budgets.length > 0
  renderMore("budgets", snapshot.budgets.length, snapshot.budgetCount)
  renderRows("reservation", snapshot.reservations.map(reservationOf))
  renderMore("reservations", snapshot.reservations.length, snapshot.reservationCount)
  renderRows("denial", snapshot.denials.map(denialOf))
  renderTimeLeft()
}

// ---------------------------------------------------------------------------------------------------------------------
// events
// ---------------------------------------------------------------------------------------------------------------------

let adminKey = ""

let isPaused = false

let latest

const setState = (state, text) => {
  byId("connection").dataset.state = state
  setText(byId("connection"), text)
}

const setLive = () => setState("live", isPaused ? "Paused" : "Live")

const receive = (snapshot) => {
  latest = snapshot
  byId("login").hidden = true
  byId("ledger").hidden = false
  byId("pause").hidden = false
  setLive()
  if (!isPaused) render(snapshot)
}

/** Yields the data of each event of a response. */
async function* eventsOf(response) {
  let text = ""
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const events = text.split("\n\n")
    text = events.pop()
    for (const event of events) if (event.startsWith("data: ")) yield JSON.parse(event.slice(6))
  }
}

const askForKey = (isWrong) => {
  byId("ledger").hidden = true
  byId("pause").hidden = true
  byId("login").hidden = false
  setText(byId("login-problem"), isWrong ? "The server refused this key. Check it and try again." : "")
  setState("lost", "Locked")
  byId("key").focus()
}

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Reads events until the server refuses the key. A lost connection is opened again. */
const connect = async () => {
  while (true) {
    try {
      const headers = adminKey === "" ? {} : { "x-admin-api-key": adminKey }
      const response = await fetch("/page/events", { headers, cache: "no-store" })
      if (response.status === 401) {
        const isWrong = adminKey !== ""
        adminKey = ""
        askForKey(isWrong)
        return
      }
      if (response.ok) for await (const snapshot of eventsOf(response)) receive(snapshot)
    } catch {
      // The server is down or was restarted, so the connection is opened again.
    }
    setState("lost", "Disconnected, trying again")
    await delay(1_000)
  }
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault()
  const input = byId("key")
  const key = input.value.trim()
  input.value = ""
  // Any other text can't be the value of a header.
  if (!/^[\x21-\x7e]+$/.test(key)) return askForKey(true)
  adminKey = key
  void connect()
})

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused
  byId("pause").setAttribute("aria-pressed", String(isPaused))
  // A disconnected page keeps its state until the next event.
  if (byId("connection").dataset.state === "live") setLive()
  if (!isPaused && latest !== undefined) render(latest)
})

setInterval(() => {
  if (!isPaused) renderTimeLeft()
}, 1_000)

void connect()
