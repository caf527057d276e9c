// The journey of a customer and of a guest, with the fetch client of orval.
import assert from "node:assert/strict";
import * as shop from "../generated/orval/shop";
import { ADDRESS, PASSWORD, PAYMENT, TOO_MANY, newEmail, newKey } from "./inputs";

type ItemConflict = shop.cartItemDetailPutResponse409["data"];
// Does not compile unless the codes of this status are known, all of them.
const EXPLANATIONS: Record<NonNullable<ItemConflict["code"]>, string> = {
  "inventory.out_of_stock": "Not enough units are available.",
  "orders.cart_closed": "The cart was ordered.",
  "orders.cart_full": "The cart is full.",
  "orders.currency_mismatch": "Its price is in another currency.",
};

const account = { email: newEmail(), password: PASSWORD, full_name: "Ada Buyer" };
assert.equal((await shop.registerPost(account)).status, 201);
const signedIn = await shop.tokenPost({ email: account.email, password: PASSWORD });
assert.ok(signedIn.status === 200);
const bearer = { Authorization: `Bearer ${signedIn.data.access}` };

const products = await shop.productListGet({ in_stock: true, page_size: 5 });
assert.ok(products.status === 200);
const sku = products.data.results.flatMap((product) => product.variants).find((variant) => variant.available > 2)?.sku;
assert.ok(sku);

const cart = await shop.cartListPost({ headers: bearer });
assert.ok(cart.status === 201);
const refused = await shop.cartItemDetailPut(cart.data.id, sku, { quantity: TOO_MANY }, { headers: bearer });
assert.ok(refused.status === 409);
assert.equal(EXPLANATIONS[refused.data.code], "Not enough units are available.");
assert.equal((await shop.cartItemDetailPut(cart.data.id, sku, { quantity: 1 }, { headers: bearer })).status, 200);

const placed = await shop.orderListPost(
  { cart_id: cart.data.id, shipping_address: ADDRESS, payment_method: PAYMENT },
  { headers: { ...bearer, "Idempotency-Key": newKey() } },
);
assert.ok(placed.status === 201);
assert.equal(placed.data.status, "confirmed");
assert.equal(placed.data.token, null, "an order of a customer, not of a guest");
const own = await shop.orderListGet(undefined, { headers: bearer });
assert.ok(own.status === 200);
assert.deepEqual(own.data.results.map((order) => order.id), [placed.data.id]);
const cancelled = await shop.cancelPost(placed.data.id, { headers: bearer });
assert.ok(cancelled.status === 200 || cancelled.status === 202);
assert.equal(cancelled.data.cancel_requested, true);

const bought = await shop.orderListPost(
  { items: [{ sku, quantity: 1 }], email: newEmail(), shipping_address: ADDRESS, payment_method: PAYMENT },
  { headers: { "Idempotency-Key": newKey() } },
);
assert.ok(bought.status === 201 && bought.data.token);
const shown = await shop.orderDetailGet(bought.data.id, undefined, { headers: { "X-Order-Token": bought.data.token } });
assert.ok(shown.status === 200);
assert.equal(shown.data.number, bought.data.number);
console.log("the journey is complete");
