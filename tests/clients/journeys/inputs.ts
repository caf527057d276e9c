// What every journey sends, and how it names a failure.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

export const SITE = process.env.SITE_URL ?? "";
export const PASSWORD = "correct horse battery";
export const ADDRESS = { name: "Ada Buyer", line1: "1 Main Street", city: "Berlin", postal_code: "10115", country: "DE" };
export const PAYMENT = { provider: "sandbox", token: "tok_ok" };
export const TOO_MANY = 10_000;

export const newKey = (): string => randomUUID();
export const newEmail = (): string => `${randomUUID()}@example.com`;

/** Return the data of a response, or fail with its error. */
export function need<T>(result: { data?: T; error?: unknown }, what: string): NonNullable<T> {
  assert.ok(result.data, `${what}: ${JSON.stringify(result.error)}`);
  return result.data as NonNullable<T>;
}
