import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { Accounts } from "../../dist/hubbub.js";

let http, accounts, answer;
const asked = [];
before(async () => {
  http = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    asked.push({ method: request.method, path: request.url, token: request.headers.authorization, body: body && JSON.parse(body) });
    response.writeHead(answer.status ?? 200, { "content-type": "application/json" });
    response.end(answer.text ?? JSON.stringify(answer.json));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  accounts = new Accounts(`http://127.0.0.1:${http.address().port}`);
});
after(() => http.close());

test("it asks as the protocol has it, and no token is in an address", async () => {
  answer = { json: { built_in: true } };
  assert.equal(await accounts.builtIn(), true);
  answer = { status: 201, json: { id: "u", name: "Ann" } };
  assert.deepEqual(await accounts.register({ name: "Ann", email: "a@b.example", password: "correct horse" }), { id: "u", name: "Ann" });
  answer = { json: { token: "secret" } };
  assert.equal(await accounts.logIn({ email: "a@b.example", password: "correct horse" }), "secret");
  answer = { json: { until: 1 } };
  await accounts.logOut("secret");
  assert.deepEqual(asked.map(({ method, path }) => `${method} ${path}`), ["GET /v1/accounts", "POST /v1/accounts", "POST /v1/accounts/login", "POST /v1/accounts/logout"]);
  assert.equal(asked[3].token, "Bearer secret");
});

test("a problem document becomes an error with its code, field and time", async () => {
  answer = { status: 429, json: { type: "/problems/rate_limited", code: "rate_limited", detail: "slowly", retry_after_ms: 700 } };
  await assert.rejects(accounts.builtIn(), { name: "HubbubError", code: "rate_limited", message: "slowly", retryAfter: 700 });
  answer = { status: 404, json: { type: "/problems/accounts_elsewhere", code: "bad_request", title: "elsewhere" } };
  await assert.rejects(accounts.logIn({}), { code: "accounts_elsewhere", message: "elsewhere" });
  answer = { status: 502, text: "<html>" };
  await assert.rejects(accounts.builtIn(), { code: "unavailable" });
});

test("a server that is not there is `lost`; an aborted question ends as its signal says", async () => {
  await assert.rejects(new Accounts("http://127.0.0.1:1").builtIn(), { code: "lost" });
  const abort = new AbortController();
  abort.abort();
  await assert.rejects(accounts.builtIn(abort.signal), { name: "AbortError" });
});
