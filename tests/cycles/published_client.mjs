// The published TypeScript client, as it is, against a server of ours: node published_client.mjs CLIENT URL TENANT
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";

const [file, baseUrl, tenant] = process.argv.slice(2);
const { BudgetExceededError, CyclesClient, CyclesConfig, reserveForStream, withCycles } = await import(pathToFileURL(file).href);

const CENT = 1_000_000;
const cents = (amount) => ({ unit: "USD_MICROCENTS", amount: amount * CENT });
const client = new CyclesClient(new CyclesConfig({ baseUrl, apiKey: "any", tenant }));
const subject = { tenant };
const action = { kind: "llm.completion", name: "gpt-4o" };
const key = () => ({ idempotency_key: randomUUID() });

async function ok(answer) {
  const found = await answer;
  assert.ok(found.isSuccess, JSON.stringify(found.body));
  return found.body;
}

async function left() {
  const { balances } = await ok(client.getBalances({ tenant }));
  return balances[0].remaining.amount / CENT;
}

const made = await ok(client.createReservation({ ...key(), subject, action, estimate: cents(10), ttl_ms: 30_000 }));
assert.equal(made.decision, "ALLOW");
const extended = await ok(client.extendReservation(made.reservation_id, { ...key(), extend_by_ms: 5_000 }));
assert.equal(extended.expires_at_ms, made.expires_at_ms + 5_000);
const committed = await ok(client.commitReservation(made.reservation_id, { ...key(), actual: cents(4) }));
assert.deepEqual(committed.released, cents(6));
const other = await ok(client.createReservation({ ...key(), subject, action, estimate: cents(10) }));
await ok(client.releaseReservation(other.reservation_id, { ...key(), reason: "no need" }));
assert.equal((await ok(client.decide({ ...key(), subject, action, estimate: cents(97) }))).decision, "DENY");
await ok(client.createEvent({ ...key(), subject, action, actual: cents(6) }));
assert.equal((await ok(client.getReservation(made.reservation_id))).status, "COMMITTED");
assert.equal((await ok(client.listReservations({ tenant, status: "RELEASED" }))).reservations.length, 1);
assert.equal(await left(), 90);

const ask = withCycles(
  { estimate: 20 * CENT, actual: () => 10 * CENT, actionKind: "llm", actionName: "m", client },
  async (text) => text.toUpperCase(),
);
assert.equal(await ask("answer"), "ANSWER");
assert.equal(await left(), 80);

const fails = withCycles({ estimate: 20 * CENT, actionKind: "llm", actionName: "m", client }, async () => {
  throw new Error("the provider is away");
});
await assert.rejects(fails(), /away/);
assert.equal(await left(), 80);

let ran = false;
const tooMuch = withCycles({ estimate: 81 * CENT, actionKind: "llm", actionName: "m", client }, async () => {
  ran = true;
});
await assert.rejects(tooMuch(), BudgetExceededError);
assert.equal(ran, false);

const stream = await reserveForStream({ client, estimate: 20 * CENT, actionKind: "llm", actionName: "m" });
await stream.commit(5 * CENT);
assert.equal(await left(), 75);
console.log("done");
