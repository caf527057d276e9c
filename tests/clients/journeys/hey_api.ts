// The journey of a customer and of a guest, with the client of @hey-api/openapi-ts. It sends the token by itself.
import assert from "node:assert/strict";
import { client } from "../generated/hey-api/client.gen";
import * as shop from "../generated/hey-api/sdk.gen";
import type { CartItemDetailPutErrors } from "../generated/hey-api/types.gen";
import { ADDRESS, PASSWORD, PAYMENT, SITE, TOO_MANY, need, newEmail, newKey } from "./inputs";

type ItemConflict = CartItemDetailPutErrors[409];
// Does not compile unless the codes of this status are known, all of them.
const EXPLANATIONS: Record<NonNullable<ItemConflict["code"]>, string> = {
  "inventory.out_of_stock": "Not enough units are available.",
  "orders.cart_closed": "The cart was ordered.",
  "orders.cart_full": "The cart is full.",
  "orders.currency_mismatch": "Its price is in another currency.",
};

let token: string | undefined;
client.setConfig({ baseUrl: SITE, auth: () => token });
const account = { email: newEmail(), password: PASSWORD, full_name: "Ada Buyer" };
need(await shop.registerPost({ body: account }), "register");
token = need(await shop.tokenPost({ body: { email: account.email, password: PASSWORD } }), "sign in").access;

const products = need(await shop.productListGet({ query: { in_stock: true, page_size: 5 } }), "browse");
const sku = products.results.flatMap((product) => product.variants).find((variant) => variant.available > 2)?.sku;
assert.ok(sku);

const cart = need(await shop.cartListPost(), "create a cart");
const path = { cart_id: cart.id, sku };
const refused = await shop.cartItemDetailPut({ path, body: { quantity: TOO_MANY } });
assert.equal(refused.response?.status, 409);
assert.equal(EXPLANATIONS[(refused.error as ItemConflict).code], "Not enough units are available.");
need(await shop.cartItemDetailPut({ path, body: { quantity: 1 } }), "fill the cart");

const placed = need(
  await shop.orderListPost({
    headers: { "Idempotency-Key": newKey() },
    body: { cart_id: cart.id, shipping_address: ADDRESS, payment_method: PAYMENT },
  }),
  "order",
);
assert.equal(placed.status, "confirmed");
assert.equal(placed.token, null, "an order of a customer, not of a guest");
const own = need(await shop.orderListGet(), "list own orders");
assert.deepEqual(own.results.map((order) => order.id), [placed.id]);
assert.equal(need(await shop.cancelPost({ path: { order_id: placed.id } }), "cancel").cancel_requested, true);

token = undefined;
const bought = need(
  await shop.orderListPost({
    headers: { "Idempotency-Key": newKey() },
    body: { items: [{ sku, quantity: 1 }], email: newEmail(), shipping_address: ADDRESS, payment_method: PAYMENT },
  }),
  "order as a guest",
);
assert.ok(bought.token);
const shown = await shop.orderDetailGet({ path: { order_id: bought.id }, headers: { "X-Order-Token": bought.token } });
assert.equal(need(shown, "show the guest's order").number, bought.number);
console.log("the journey is complete");
