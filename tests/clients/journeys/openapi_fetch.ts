// The journey of a customer and of a guest, with openapi-typescript and openapi-fetch.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "../generated/openapi-fetch/schema.js";
import { ADDRESS, PASSWORD, PAYMENT, SITE, TOO_MANY, need, newEmail, newKey } from "./inputs";

type ItemConflict =
  paths["/api/v1/carts/{cart_id}/items/{sku}"]["put"]["responses"]["409"]["content"]["application/problem+json"];
// Does not compile unless the codes of this status are known, all of them.
const EXPLANATIONS: Record<ItemConflict["code"], string> = {
  "inventory.out_of_stock": "Not enough units are available.",
  "orders.cart_closed": "The cart was ordered.",
  "orders.cart_full": "The cart is full.",
  "orders.currency_mismatch": "Its price is in another currency.",
};

const guest = createClient<paths>({ baseUrl: SITE });
const account = { email: newEmail(), password: PASSWORD, full_name: "Ada Buyer" };
need(await guest.POST("/api/v1/auth/register", { body: account }), "register");
const credentials = { email: account.email, password: PASSWORD };
const tokens = need(await guest.POST("/api/v1/auth/token", { body: credentials }), "sign in");
const customer = createClient<paths>({ baseUrl: SITE, headers: { Authorization: `Bearer ${tokens.access}` } });

const products = need(await guest.GET("/api/v1/products", { params: { query: { in_stock: true, page_size: 5 } } }), "browse");
const sku = products.results.flatMap((product) => product.variants).find((variant) => variant.available > 2)?.sku;
assert.ok(sku);

const cart = need(await customer.POST("/api/v1/carts", {}), "create a cart");
const path = { cart_id: cart.id, sku };
const refused = await customer.PUT("/api/v1/carts/{cart_id}/items/{sku}", { params: { path }, body: { quantity: TOO_MANY } });
assert.equal(refused.response.status, 409);
assert.equal(EXPLANATIONS[(refused.error as ItemConflict).code], "Not enough units are available.");
const filled = await customer.PUT("/api/v1/carts/{cart_id}/items/{sku}", { params: { path }, body: { quantity: 1 } });
const total = need(filled, "fill the cart").totals.total;

const placed = need(
  await customer.POST("/api/v1/orders", {
    params: { header: { "Idempotency-Key": newKey() } },
    body: { cart_id: cart.id, shipping_address: ADDRESS, payment_method: PAYMENT, expected_total: total },
  }),
  "order",
);
assert.equal(placed.status, "confirmed");
assert.equal(placed.token, null, "an order of a customer, not of a guest");
const own = need(await customer.GET("/api/v1/orders", {}), "list own orders");
assert.deepEqual(own.results.map((order) => order.id), [placed.id]);
const cancelled = await customer.POST("/api/v1/orders/{order_id}/cancel", { params: { path: { order_id: placed.id } } });
assert.equal(need(cancelled, "cancel").cancel_requested, true);

const bought = need(
  await guest.POST("/api/v1/orders", {
    params: { header: { "Idempotency-Key": newKey() } },
    body: { items: [{ sku, quantity: 1 }], email: newEmail(), shipping_address: ADDRESS, payment_method: PAYMENT },
  }),
  "order as a guest",
);
assert.ok(bought.token);
const shown = await guest.GET("/api/v1/orders/{order_id}", {
  params: { path: { order_id: bought.id }, header: { "X-Order-Token": bought.token } },
});
assert.equal(need(shown, "show the guest's order").number, bought.number);
console.log("the journey is complete");
