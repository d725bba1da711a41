import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as BaseUrl from "../src/internal/config/baseUrl.ts"

describe("baseUrl", () => {
  describe("parse", () => {
    it.each([
      ["http://host", "http://host"],
      ["HTTP://HOST", "http://host"],
      ["HttpS://Host.Example:8443/Api/V2", "https://host.example:8443/Api/V2"],
      [" http://host/ ", "http://host"],
      ["http://host///", "http://host"],
      ["http://host/v1", "http://host"],
      ["http://host/v1/", "http://host"],
      ["http://host/api/v1//", "http://host/api"],
      ["http://host/api/v1/v1", "http://host/api/v1"],
      ["http://host/av1", "http://host/av1"],
      ["http://host:80", "http://host:80"],
      ["http://host//a", "http://host//a"],
      ["http://127.1:7878", "http://127.1:7878"],
      ["http://[::1]:7878/", "http://[::1]:7878"],
      ["http://[2001:DB8::1]", "http://[2001:db8::1]"],
      ["http://bücher.example/ä", "http://bücher.example/ä"],
      ["http://host/a@b", "http://host/a@b"]
    ])("parses %j as %s", (value, expected) => {
      expect(Result.getOrThrow(BaseUrl.parse(value))).toBe(expected)
    })

    it("takes a URL", () => {
      expect(Result.getOrThrow(BaseUrl.parse(new URL("HTTPS://Host/v1/")))).toBe("https://host")
    })

    it.each([
      ["", "an http:// or https:// address"],
      ["host", "an http:// or https:// address"],
      ["http:host", "an http:// or https:// address"],
      ["http:/host", "an http:// or https:// address"],
      ["http:///host", "an http:// or https:// address"],
      ["http://", "an http:// or https:// address"],
      ["http://:80", "an http:// or https:// address"],
      ["ftp://host", "an http:// or https:// address"],
      ["//host", "an http:// or https:// address"],
      ["http://host:99999", "an http:// or https:// address"],
      ["http://ho st", "an http:// or https:// address"],
      ["http://host/a b", "an http:// or https:// address"],
      ["http://ho\nst", "an http:// or https:// address"],
      ["http://host/\u0000", "an http:// or https:// address"],
      ["http://host/a\tb", "an http:// or https:// address"],
      ["http:\\\\host", "an http:// or https:// address"],
      ["http://host\\@other", "an http:// or https:// address"],
      ["http://[::1", "an http:// or https:// address"],
      ["http://host?a=1", "an address without query and fragment"],
      ["http://host/?", "an address without query and fragment"],
      ["http://host/#", "an address without query and fragment"],
      ["http://host/a#b", "an address without query and fragment"],
      ["http://me:pass@host", "an address without user name and password"],
      ["http://me@host", "an address without user name and password"],
      ["http://me:pa\nss@host", "an address without user name and password"],
      ["http://@host", "an address without user name and password"]
    ])("refuses %j: must be %s", (value, expected) => {
      expect(BaseUrl.problemOf(value)).toBe(expected)
    })
  })

  describe("shown", () => {
    it.each([
      ["http://me:hush@host", "http://***@host"],
      ["http://me:hu\nsh@host/path", "http://***@host/path"],
      ["http://me:hu@sh@host", "http://***@host"],
      ["http://me:hu/sh@host", "http://***@host"],
      ["http://me:hu?sh@host", "http://***@host"],
      ["me:hush@host", "***@host"],
      ["http://host?token=hush", "http://host?***"],
      ["http://host?", "http://host?"],
      ["http://host/a?b=1\nhush", "http://host/a?***"],
      ["http://host", "http://host"]
    ])("shows %j as %j", (value, expected) => {
      expect(BaseUrl.shown(value)).toBe(expected)
    })
  })

  describe("isPlainPublic", () => {
    it.each([
      "http://localhost",
      "http://api.localhost:1",
      "http://cycles",
      "http://cycles.internal",
      "http://cycles.local.",
      "http://127.0.0.1",
      "http://127.1",
      "http://0x7f.1",
      "http://10.1.2.3",
      "http://172.16.0.1",
      "http://172.31.255.255",
      "http://192.168.1.1",
      "http://169.254.1.1",
      "http://[::1]",
      "http://[::]",
      "http://[fc00::1]",
      "http://[fdff:1::1]",
      "http://[fe80::1]",
      "http://[febf::1]",
      "http://[::ffff:10.0.0.1]",
      "http://[::ffff:c0a8:101]",
      "https://public.example"
    ])("is false for %s", (value) => {
      expect(BaseUrl.isPlainPublic(value)).toBe(false)
    })

    it.each([
      "http://public.example",
      "http://10.evil.com",
      "http://192.168.evil.com",
      "http://127.0.0.1.evil.com",
      "http://localhost.evil.com",
      "http://11.1.2.3",
      "http://172.32.0.1",
      "http://172.15.0.1",
      "http://192.169.0.1",
      "http://[2001:db8::1]",
      "http://[fec0::1]",
      "http://[fbff::1]",
      "http://[::ffff:8.8.8.8]",
      "http://[::2]"
    ])("is true for %s", (value) => {
      expect(BaseUrl.isPlainPublic(value)).toBe(true)
    })
  })
})
